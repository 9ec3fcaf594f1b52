#pragma once
// The compiled mode: what most programs instantiate is compiled once, in a library of its own, and the programs include its
// declarations. It changes no bit and costs nothing at run time; every program compiles in about half the time.
//
//   target_link_libraries(app PRIVATE espalier::compiled)             # instead of espalier::espalier; or, without CMake:
//   g++ -std=c++20 -O2 -I espalier/include -include espalier/compiled.hpp -c -x c++ /dev/null -o espalier.o
//   g++ -std=c++20 -O2 -I espalier/include -DESPALIER_COMPILED app.cpp espalier.o
//
// Both sides must be compiled for one instruction set, as all translation units must. What is not listed here is compiled
// where it is used, as in the header-only mode.
// espalier.hpp includes it where ESPALIER_COMPILED is defined, the library's one source file where it is not.

#include "espalier/espalier.hpp"

#ifdef ESPALIER_COMPILED
#define ESPALIER_INSTANTIATE extern template
#else
#define ESPALIER_INSTANTIATE template
#endif

// A macro, as the list is needed for two scalar types and nothing in the language repeats an instantiation.
#define ESPALIER_INSTANTIATIONS(T)                                                                                             \
  ESPALIER_INSTANTIATE class Tensor<T>;                                                                                        \
  ESPALIER_INSTANTIATE class Sweep<T>;                                                                                         \
  ESPALIER_INSTANTIATE struct Leaf<T>;                                                                                         \
  ESPALIER_INSTANTIATE Tensor<T> parameter(Tensor<T>);                                                                         \
  ESPALIER_INSTANTIATE struct UnaryRule<T>;                                                                                    \
  ESPALIER_INSTANTIATE struct BinaryRule<T>;                                                                                   \
  ESPALIER_INSTANTIATE Tensor<T> detail::apply_unary(const UnaryOp<T>&, const Tensor<T>&);                                     \
  ESPALIER_INSTANTIATE Tensor<T> detail::apply_binary(const BinaryOp<T>&, const Tensor<T>&, const Tensor<T>&);                 \
  ESPALIER_INSTANTIATE Tensor<T> reshape(const Tensor<T>&, const Shape&);                                                      \
  ESPALIER_INSTANTIATE Tensor<T> expand_to(const Tensor<T>&, const Shape&);                                                    \
  ESPALIER_INSTANTIATE Tensor<T> sum_to(const Tensor<T>&, int, const Shape&);                                                  \
  ESPALIER_INSTANTIATE Tensor<T> add_same(const Tensor<T>&, const Tensor<T>&);                                                 \
  ESPALIER_INSTANTIATE Tensor<T> where(const Tensor<bool>&, const Tensor<T>&, const Tensor<T>&);                               \
  ESPALIER_INSTANTIATE Tensor<T> transpose(const Tensor<T>&, int, int);                                                        \
  ESPALIER_INSTANTIATE Tensor<T> slice(const Tensor<T>&, int, Index, Index);                                                   \
  ESPALIER_INSTANTIATE Tensor<T> pad(const Tensor<T>&, int, Index, Index);                                                     \
  ESPALIER_INSTANTIATE Tensor<T> concat(std::span<const Tensor<T>>, int);                                                      \
  ESPALIER_INSTANTIATE Tensor<T> stack(std::span<const Tensor<T>>, int);                                                       \
  ESPALIER_INSTANTIATE Tensor<T> gather(const Tensor<T>&, const Tensor<Index>&, int);                                          \
  ESPALIER_INSTANTIATE Tensor<T> scatter_add(const Tensor<T>&, const Tensor<Index>&, int, Index);                              \
  ESPALIER_INSTANTIATE Tensor<T> sum(const Tensor<T>&);                                                                        \
  ESPALIER_INSTANTIATE Tensor<T> sum(const Tensor<T>&, std::initializer_list<int>, ReduceOptions);                             \
  ESPALIER_INSTANTIATE Tensor<T> softmax(const Tensor<T>&, int);                                                               \
  ESPALIER_INSTANTIATE Tensor<T> log_softmax(const Tensor<T>&, int);                                                           \
  ESPALIER_INSTANTIATE Tensor<T> logsumexp(const Tensor<T>&, int);                                                             \
  ESPALIER_INSTANTIATE Tensor<T> detail::product(const Tensor<T>&, bool, const Tensor<T>&, bool);                              \
  ESPALIER_INSTANTIATE Tensor<T> linear(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&, Activation);                     \
  ESPALIER_INSTANTIATE Tensor<T> segment_losses(const Tensor<T>&, std::span<const LossSegment<T>>, std::span<double>);         \
  ESPALIER_INSTANTIATE void kernels::detail::gemm_default(const kernels::detail::Product<T>&);                                 \
  ESPALIER_INSTANTIATE struct detail::ElementwiseLoss<T, MSE>;                                                                 \
  ESPALIER_INSTANTIATE struct detail::ElementwiseLoss<T, MAE>;                                                                 \
  ESPALIER_INSTANTIATE struct detail::ElementwiseLoss<T, BCEWithLogits>;                                                       \
  ESPALIER_INSTANTIATE struct detail::ClassLoss<T, CrossEntropy>;                                                              \
  ESPALIER_INSTANTIATE struct LinearOp<T>;                                                                                     \
  ESPALIER_INSTANTIATE struct SegmentLosses<T>;                                                                                \
  ESPALIER_INSTANTIATE struct Matmul<T>;                                                                                       \
  ESPALIER_INSTANTIATE struct Softmax<T>;                                                                                      \
  ESPALIER_INSTANTIATE std::vector<Tensor<T>> vjp(const Tensor<T>&, const std::vector<Tensor<T>>&, const Tensor<T>&, GradOptions); \
  ESPALIER_INSTANTIATE std::vector<Tensor<T>> jacobian(const Tensor<T>&, const std::vector<Tensor<T>>&);                       \
  ESPALIER_INSTANTIATE class AnyModule<T>;                                                                                     \
  ESPALIER_INSTANTIATE struct Linear<T>;                                                                                       \
  ESPALIER_INSTANTIATE class Sequential<T>;                                                                                    \
  ESPALIER_INSTANTIATE class NamedList<Tensor<T>>;                                                                             \
  ESPALIER_INSTANTIATE class NamedList<Input<T>>;                                                                              \
  ESPALIER_INSTANTIATE class NamedList<Target<T>>;                                                                             \
  ESPALIER_INSTANTIATE class Outputs<T>;                                                                                       \
  ESPALIER_INSTANTIATE class Losses<T>;                                                                                        \
  ESPALIER_INSTANTIATE class TaskGradients<T>;                                                                                 \
  ESPALIER_INSTANTIATE class MultiObjective<T>;                                                                                \
  ESPALIER_INSTANTIATE class Heads<T>;                                                                                         \
  ESPALIER_INSTANTIATE class MultiTaskModel<T>;                                                                                \
  ESPALIER_INSTANTIATE class MultiModalModel<T>;                                                                               \
  ESPALIER_INSTANTIATE class ModalityHeads<T>;                                                                                 \
  ESPALIER_INSTANTIATE class Optimizer<T, detail::AdamRule<T, false>>;                                                         \
  ESPALIER_INSTANTIATE class Optimizer<T, detail::AdamRule<T, true>>;                                                          \
  ESPALIER_INSTANTIATE class Optimizer<T, detail::SGDRule<T>>;                                                                 \
  ESPALIER_INSTANTIATE double clip_grad_norm(const NamedList<Tensor<T>>&, double);                                             \
  ESPALIER_INSTANTIATE struct Dataset<T>;                                                                                      \
  ESPALIER_INSTANTIATE class Loader<T>;                                                                                        \
  ESPALIER_INSTANTIATE Scored scored(const Tensor<T>&, const Target<T>&, std::string_view, const ScoredOptions&);              \
  ESPALIER_INSTANTIATE class Evaluator<T>;                                                                                     \
  ESPALIER_INSTANTIATE class Trainer<T>;

namespace espalier::inline ESPALIER_ABI {
ESPALIER_INSTANTIATIONS(float)
ESPALIER_INSTANTIATIONS(double)
// Code without a choice of type (see config.hpp).
ESPALIER_INSTANTIATE std::string detail::join_parts<void>(std::initializer_list<detail::Part>);
ESPALIER_INSTANTIATE void detail::fail_parts<void>(std::initializer_list<detail::Part>);
ESPALIER_INSTANTIATE std::string Shape::text<void>() const;
ESPALIER_INSTANTIATE void detail::sort_numbers<void>(std::span<Index>, const void*, bool (*)(const void*, Index, Index));
ESPALIER_INSTANTIATE std::vector<std::size_t> detail::first_places<void>(const std::vector<std::uint64_t>&);
ESPALIER_INSTANTIATE const std::string* detail::repeated<void>(const std::vector<const std::string*>&);
ESPALIER_INSTANTIATE void detail::sort_unique<void>(PoolVector<Index>&);
ESPALIER_INSTANTIATE void Pass::commit<void>();
}  // namespace espalier::inline ESPALIER_ABI

#undef ESPALIER_INSTANTIATIONS
#undef ESPALIER_INSTANTIATE
