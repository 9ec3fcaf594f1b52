#pragma once
// The gradient aggregators, all of them; aggregator/aggregator.hpp tells what they are and how to add one.
//
//   from inner products alone         the direction
//   UPGrad, DualProj                  harms no task: projections of the gradients, of their mean
//   MGDA                              the shortest one in the convex hull
//   CAGrad                            near the mean, best for the worst task
//   NashMTL, FairGrad                 a bargain between the tasks' gains
//   IMTLG, ConFIG                     equal projections, equal cosines
//   AlignedMTL                        equally long principal components
//   PCGrad, GradVac                   conflicts taken out pair by pair
//   from the gradients themselves
//   GradDrop                          one sign a coordinate, at random
//   TrimmedMean                       the mean without the extremes
//   MoCo, DBMTL                       running means of the gradients, weighted, made equally long

#include "espalier/multitask/aggregator/aligned_mtl.hpp"
#include "espalier/multitask/aggregator/cagrad.hpp"
#include "espalier/multitask/aggregator/con_fig.hpp"
#include "espalier/multitask/aggregator/db_mtl.hpp"
#include "espalier/multitask/aggregator/dual_proj.hpp"
#include "espalier/multitask/aggregator/fair_grad.hpp"
#include "espalier/multitask/aggregator/grad_drop.hpp"
#include "espalier/multitask/aggregator/gradvac.hpp"
#include "espalier/multitask/aggregator/imtl_g.hpp"
#include "espalier/multitask/aggregator/mgda.hpp"
#include "espalier/multitask/aggregator/moco.hpp"
#include "espalier/multitask/aggregator/nash_mtl.hpp"
#include "espalier/multitask/aggregator/pcgrad.hpp"
#include "espalier/multitask/aggregator/trimmed_mean.hpp"
#include "espalier/multitask/aggregator/upgrad.hpp"
