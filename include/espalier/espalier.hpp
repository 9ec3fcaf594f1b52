#pragma once
// espalier: tensors, reverse-mode derivatives, and training of models with several tasks and several kinds of input.
// Everything a program usually needs; see README.md. Views to and from Eigen are included by name (tensor/eigen.hpp): Eigen
// alone would cost as much compile time as most of the library.

#include "espalier/autograd/functional.hpp"
#include "espalier/autograd/gradcheck.hpp"
#include "espalier/data/csv.hpp"
#include "espalier/data/dataset.hpp"
#include "espalier/data/loader.hpp"
#include "espalier/data/one_hot.hpp"
#include "espalier/data/split.hpp"
#include "espalier/data/standardise.hpp"
#include "espalier/data/table_encoder.hpp"
#include "espalier/data/target_encoder.hpp"
#include "espalier/data/write_csv.hpp"
#include "espalier/io/checkpoint.hpp"
#include "espalier/model/modality_heads.hpp"
#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/model/summary.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/multitask/aggregator.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/identity.hpp"
#include "espalier/nn/init.hpp"
#include "espalier/nn/layer_norm.hpp"
#include "espalier/nn/sequential.hpp"
#include "espalier/ops/list.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/optim/clip.hpp"
#include "espalier/optim/schedule.hpp"
#include "espalier/optim/sgd.hpp"
#include "espalier/train/baseline.hpp"
#include "espalier/train/trainer.hpp"

#ifdef ESPALIER_COMPILED  // the optional compiled mode
#include "espalier/compiled.hpp"
#endif
