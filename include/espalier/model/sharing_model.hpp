#pragma once
// SharingModel: heads on any architecture of multitask/sharing, which gives every task features of its own.
//
// It stands here, not beside the architectures, as heads, presence and owners are the assemblies' business.
// Included by name, as models with a trunk for all do without.

#include "espalier/model/encoders.hpp"
#include "espalier/model/heads.hpp"
#include "espalier/model/model_ref.hpp"
#include "espalier/multitask/sharing.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct SharingOptions {
  std::vector<Named<AnyModule<T>>> encoders = {};  // one per modality; none: the sharing sees the input
  AnyFusion<T> fusion = {};                        // of what they give
  AnySharing<T> sharing = {};                   // MMoE, CGC, PLE, CrossStitch, MTAN, FiLM, or one of your own
  std::vector<Named<AnyModule<T>>> heads = {};  // one per task of the sharing
  double modality_dropout = 0;                  // as in MultiModalOptions
  /// What the sharing wants small (MMoE with gates of DSelectK), its mean over the batch and sum over the gates, is added to the
  /// loss times this; 0: left out. DSelectK's authors take some 1e-6. In training alone: no loss that is told or validated has it.
  double penalty = 0;
};

///   SharingModel model{{.sharing = MMoE{10, {.tasks = {"price", "sold"}, .experts = repeat(8, make_expert)}, rng},
///                       .heads = {{"price", Linear{16, 1, rng}}, {"sold", Linear{16, 1, rng}}}}};
///   auto outputs = model(x);                                          // one input for all tasks
///   auto outputs = model({{"price", x}, {"sold", {y, present}}});     // or one per task, by the tasks' names
/// With an input per task, all are run together, and each task keeps its own rows; all must be equally wide. Rows that lack theirs
/// get the prediction 0, with gradient 0. With encoders the inputs are modalities, any of which may be absent, and all tasks see
/// what the fusion makes of those that are there, as in MultiModalModel:
///
///   SharingModel model{{.encoders = {{"left", Linear{32, 64, rng}}, {"right", Linear{32, 64, rng}}},
///                       .fusion = GatedFusion{64, rng},
///                       .sharing = PLE{...}, .heads = {...}}};
///   auto outputs = model({{"left", x}, {"right", {y, present}}});
///
/// Copies share parameters, as in PyTorch; `clone` is deep.
template <Differentiable T = float>
class SharingModel {
 public:
  /// Throws Error unless there is a head for every task of the sharing, and for no other; for encoders as MultiModalModel does.
  explicit SharingModel(SharingOptions<T> options) : sharing_(std::move(options.sharing)), penalty_(options.penalty) {
    if (!sharing_) fail("SharingModel: no sharing given; use MMoE, PLE, ...");
    OutputLayout layout;
    for (const std::string& task : sharing_.tasks()) {
      Named<AnyModule<T>>* head = nullptr;
      for (Named<AnyModule<T>>& given : options.heads)
        if (given.name == task) head = &given;
      if (!head || options.heads.size() != sharing_.tasks().size())
        fail("SharingModel: ", sharing_.name(), " is for the tasks ",
             listing(sharing_.tasks(), [](const std::string& n) { return n; }),
             "; heads are given for: ", listing(options.heads, [](const Named<AnyModule<T>>& h) { return h.name; }),
             "; each task needs one");
      if (!head->value) fail("SharingModel: the head of task '", task, "' is empty");
      heads_.emplace_back(task, head->value);
      layout.places.push_back({.separate = static_cast<Index>(layout.names.size())});
      layout.names.push_back(task);
    }
    if (!(penalty_ >= 0 && penalty_ < std::numeric_limits<double>::infinity()))
      fail("SharingModel: penalty is ", penalty_, "; it must be finite and not negative");
    layout.notes = note_names();
    layout_ = Shared<OutputLayout>(std::move(layout));
    const bool fused = !options.encoders.empty();
    if (!fused && (options.fusion || options.modality_dropout != 0))
      fail("SharingModel: there are no encoders for the fusion and modality_dropout to work on; give some, or leave these out");
    if (fused)
      front_ = detail::FusedEncoders<T>("SharingModel", std::move(options.encoders), std::move(options.fusion),
                                        options.modality_dropout);
    detail::own_heads(options.heads);
    front_.own();
    sharing_.own();
  }

  Outputs<T> operator()(const Tensor<T>& x) const {
    const NoGrad no_grad;
    return run(only(x), nullptr);
  }
  Outputs<T> operator()(const Tensor<T>& x, Pass& pass) const { return run(only(x), &pass); }
  Outputs<T> operator()(const Inputs<T>& inputs) const {
    const NoGrad no_grad;
    return run(inputs, nullptr);
  }
  Outputs<T> operator()(const Inputs<T>& inputs, Pass& pass) const { return run(inputs, &pass); }
  const NamedList<AnyModule<T>>& encoders() const { return front_.encoders(); }
  AnySharing<T>& sharing() { return sharing_; }
  /// What the Trainer's diagnostics get from here: every expert's mean weight in every gate over the rows it was run on,
  /// "price/gate/experts.0", and the penalty as it is added to the loss, "penalty".
  const std::vector<std::string>& notes() const { return layout_->notes; }
  /// One more task on the trained model: a head and, of the architecture, what a task has there for itself, drawn from `rng` or
  /// brought along (`added`). The outputs of the others stay as they are, bit for bit. Give the optimizer the new parameters
  /// (`optimizer.add(parameters(model))`) and make an objective of all tasks. Throws Error, and changes nothing, where the
  /// architecture cannot (CrossStitch), for an empty head, a name that is taken, what the architecture has no use for, and a
  /// parameter that is somebody's already.
  void add_task(std::string name, AnyModule<T> head, Rng& rng, AddedTask<T> added = {});
  void fields(auto&& visit) {
    front_.fields(visit);
    visit("sharing", sharing_);
    for (detail::ModelPart<T>& head : heads_) visit("heads." + head.name, head);
  }

 private:
  static constexpr std::uint64_t sharing_name = detail::hash_name("sharing"), heads_name = detail::hash_name("heads");

  std::vector<std::string> note_names() const {
    std::vector<std::string> all = sharing_.notes();
    if (penalty_ > 0) all.push_back("penalty");
    return all;
  }
  const Tensor<T>& only(const Tensor<T>& x) const {
    if (!front_.empty()) fail("SharingModel: it has encoders; give it inputs by the names of ", front_.encoders().names());
    return x;
  }
  PoolVector<Tensor<T>> features(const Tensor<T>& x, Pass* pass) const {
    require(x, "SharingModel");
    if (!pass) return sharing_(x, nullptr);
    const Pass::Scope scope(*pass, sharing_name);
    pass->take_notes();  // what came before is not ours
    PoolVector<Tensor<T>> found = sharing_(x, pass);
    if (layout_->notes.size() == (penalty_ > 0 ? 1 : 0)) pass->take_notes();  // a sharing that has no names for what its parts note
    return found;
  }
  Tensor<T> head(std::size_t t, const Tensor<T>& features, Pass* pass) const {
    try {
      if (!pass) return heads_[t](features, nullptr);
      const Pass::Scope scope(*pass, heads_name);
      return heads_[t](features, pass);
    } catch (const Error& e) {
      fail("SharingModel: the head of task '", heads_[t].name, "', on the features ", features.shape(), ": ", e.what());
    }
  }
  /// The predictions, and in training what the sharing adds to the loss. `ends`: of each task's own rows of x; none: all are.
  Outputs<T> outputs(PoolVector<Tensor<T>> predictions, const Tensor<T>& x, Pass* pass, const PoolVector<Index>& ends = {}) const {
    Outputs<T> all(layout_, {}, std::move(predictions));
    if (!pass) return all;
    if (penalty_ > 0) add_penalty(all, x, pass, ends);
    all.note(pass->take_notes());
    return all;
  }
  void add_penalty(Outputs<T>& all, const Tensor<T>& x, Pass* pass, const PoolVector<Index>& ends) const {
    const PoolVector<Tensor<T>> found = sharing_.penalty(x, pass);
    if (found.empty()) fail("SharingModel: penalty is ", penalty_, ", but ", sharing_.name(), " wants nothing small; leave it out");
    const bool by_task = found.size() == heads_.size();
    if (!by_task && found.size() != 1)
      fail("SharingModel: ", sharing_.name(), " has ", found.size(), " penalties for ", heads_.size(),
           " tasks; it must have one for each, or one for all");
    for (std::size_t t = 0; t < found.size(); ++t) {
      Tensor<T> part = found[t];
      if (!part.defined()) continue;
      if (const Shape wanted{x.shape()[0], 1}; !(part.shape() == wanted))
        fail("SharingModel: a penalty of ", sharing_.name(), " is ", part.shape(), "; it must be ", wanted,
             ", a number per sample");
      if (by_task && !ends.empty()) part = slice(part, 0, t ? ends[t - 1] : 0, ends[t]);
      const Index rows = part.shape()[0];
      if (rows > 0)
        all.penalise(sum(part) * static_cast<T>(penalty_ / static_cast<double>(rows)),
                     by_task ? std::string_view(heads_[t].name) : std::string_view());
    }
    double total = 0;
    for (const Penalty<T>& p : all.penalties()) total += static_cast<double>(p.value.data()[0]);
    pass->note(total);
  }

  Outputs<T> run(const Tensor<T>& x, Pass* pass) const {
    const PoolVector<Tensor<T>> all = features(x, pass);
    PoolVector<Tensor<T>> predictions;
    for (std::size_t t = 0; t < heads_.size(); ++t) predictions.push_back(head(t, all[t], pass));
    return outputs(std::move(predictions), x, pass);
  }
  Outputs<T> run(const Inputs<T>& inputs, Pass* pass) const {
    if (!front_.empty()) return run(front_(inputs, pass), pass);
    if (inputs.size() == 1 && (heads_.size() > 1 || inputs.at(0).name != heads_[0].name))
      return run(detail::only_input(inputs), pass);
    // An input per task: the rows that are there, one task after another.
    std::vector<Tensor<T>> parts;
    PoolVector<detail::Presence> presences;
    PoolVector<Index> ends;
    for (const Named<Input<T>>& input : inputs) {
      bool known = false;
      for (const detail::ModelPart<T>& h : heads_) known |= h.name == input.name;
      if (!known)
        fail("SharingModel: unknown input '", input.name,
             "'; give one for all tasks, or one per task: ", listing(heads_, [](const detail::ModelPart<T>& h) { return h.name; }));
    }
    for (std::size_t t = 0; t < heads_.size(); ++t) {
      const Input<T>* input = inputs.find(heads_[t].name, static_cast<Index>(t));
      if (!input) fail("SharingModel: task '", heads_[t].name, "' has no input; give one for all tasks, or one per task");
      if (!input->values.defined() || input->values.rank() < 1) fail("SharingModel: input '", heads_[t].name, "' has no values");
      presences.push_back(detail::presence_of(*input, input->batch(), heads_[t].name));
      parts.push_back(presences[t].mask.defined() ? gather(input->values, presences[t].rows, 0) : input->values);
      ends.push_back((t ? ends[t - 1] : 0) + parts[t].shape()[0]);
    }
    const Tensor<T> x = concat(parts, 0);
    const PoolVector<Tensor<T>> all = features(x, pass);
    PoolVector<Tensor<T>> predictions;
    for (std::size_t t = 0; t < heads_.size(); ++t) {
      const Tensor<T> y = head(t, slice(all[t], 0, t ? ends[t - 1] : 0, ends[t]), pass);
      predictions.push_back(presences[t].mask.defined() ? scatter_add(y, presences[t].rows, 0, presences[t].mask.size()) : y);
    }
    return outputs(std::move(predictions), x, pass, ends);
  }

  detail::FusedEncoders<T> front_;
  AnySharing<T> sharing_;
  std::vector<detail::ModelPart<T>> heads_;
  Shared<OutputLayout> layout_;
  double penalty_;
};

template <Differentiable T>
void SharingModel<T>::add_task(std::string name, AnyModule<T> head, Rng& rng, AddedTask<T> added) {
  if (!head) fail("SharingModel: the head of task '", name, "' is empty");
  detail::check_new(name, "head", head);
  for (AnyModule<T>& expert : added.experts) detail::check_new(name, "expert", expert);
  detail::check_new(name, "gate", added.gate);
  AnySharing<T> sharing = sharing_;  // of the same parameters: a task that cannot be added leaves ours alone
  sharing.add_task(name, added, rng);
  sharing_ = std::move(sharing);
  sharing_.own();
  set_owner<T>(head, {Owner::Kind::task, name});
  OutputLayout layout = *layout_;
  layout.names.push_back(name);
  layout.places.push_back({.separate = static_cast<Index>(heads_.size())});
  layout.notes = note_names();
  layout_ = Shared<OutputLayout>(std::move(layout));
  heads_.emplace_back(std::move(name), std::move(head));
}
SharingModel(SharingOptions<float>)->SharingModel<float>;

}  // namespace espalier::inline ESPALIER_ABI
