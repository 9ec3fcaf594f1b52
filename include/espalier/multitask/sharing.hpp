#pragma once
// The architectures: what tasks share, and what each has for itself, beyond one trunk for all (MultiTaskModel).
// Included by name, as models with a trunk for all do without.
//
//   SharingModel model{{.sharing = MMoE{10, {.tasks = {"price", "sold"}, .experts = repeat(8, make_expert)}, rng},
//                       .heads = {{"price", Linear{16, 1, rng}}, {"sold", Linear{16, 1, rng}}}}};    // model/sharing_model.hpp

#include "espalier/multitask/sharing/cgc.hpp"
#include "espalier/multitask/sharing/cross_stitch.hpp"
#include "espalier/multitask/sharing/dselect_k.hpp"
#include "espalier/multitask/sharing/film.hpp"
#include "espalier/multitask/sharing/mmoe.hpp"
#include "espalier/multitask/sharing/mtan.hpp"
#include "espalier/multitask/sharing/ple.hpp"
