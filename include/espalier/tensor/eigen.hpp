#pragma once
// To and from Eigen: tensors seen as Eigen maps, Eigen's matrices as tensors. No tensor owns an Eigen object, so Eigen's
// alignment and version stay out of the library's ABI.
// Included by name: it is the only header that needs Eigen.

#include <Eigen/Core>

#include "espalier/tensor/tensor.hpp"

static_assert(EIGEN_VERSION_AT_LEAST(3, 4, 0), "espalier/tensor/eigen.hpp needs Eigen 3.4 or later");

namespace espalier::inline ESPALIER_ABI {

/// Eigen's types of a tensor's layout.
template <Scalar T>
using EigenMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <Scalar T>
using EigenVector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

namespace detail {
template <class T>
void require_matrix(const Tensor<T>& x, std::string_view op) {
  if (!x.defined()) fail(op, ": the tensor is undefined; give it values first");
  if (x.rank() != 2) fail(op, ": the tensor is ", x.shape(), "; a matrix has two axes (reshape it first)");
}
template <class Derived>
Shape eigen_shape(const Eigen::DenseBase<Derived>& x) {
  if constexpr (Derived::IsVectorAtCompileTime) return {static_cast<Index>(x.size())};
  else return {static_cast<Index>(x.rows()), static_cast<Index>(x.cols())};
}
}  // namespace detail

/// A tensor [rows, columns] as a matrix, read-only and without a copy; valid while the tensor's values live. Throws Error
/// for another number of axes.
template <class T>
Eigen::Map<const EigenMatrix<T>> as_matrix(const Tensor<T>& x) {
  detail::require_matrix(x, "as_matrix");
  return {x.data(), x.shape()[0], x.shape()[1]};
}
/// The same for writing: counts as one in-place update, made now (see Tensor::mutate).
template <class T>
Eigen::Map<EigenMatrix<T>> as_matrix_mutable(Tensor<T>& x) {
  detail::require_matrix(x, "as_matrix_mutable");
  return {x.mutate().data(), x.shape()[0], x.shape()[1]};
}
/// All values of a tensor of any shape as one column, read-only and without a copy.
template <class T>
Eigen::Map<const EigenVector<T>> as_vector(const Tensor<T>& x) {
  return {x.values().data(), x.size()};
}
template <class T>
Eigen::Map<EigenVector<T>> as_vector_mutable(Tensor<T>& x) {
  return {x.mutate().data(), x.size()};
}

/// A copy of a matrix or an expression: [rows, columns], or [size] for what Eigen knows to be a vector.
template <class Derived>
Tensor<typename Derived::Scalar> from_eigen(const Eigen::DenseBase<Derived>& x) {
  using T = typename Derived::Scalar;
  static_assert(Scalar<T>, "from_eigen: the scalar is float, double, espalier::Index or bool; use .cast<...>()");
  Tensor<T> y = Tensor<T>::empty(detail::eigen_shape(x));
  Eigen::Map<EigenMatrix<T>>(y.raw(), x.rows(), x.cols()) = x.derived().matrix();
  return y;
}

/// A read-only tensor over the memory of a row-major matrix, a vector, or a map or block of one, which the caller keeps alive
/// and unchanged. Throws Error where the rows do not lie one after another.
template <class Derived>
Tensor<typename Derived::Scalar> borrow_eigen(const Eigen::DenseBase<Derived>& x) {
  using T = typename Derived::Scalar;
  static_assert(Scalar<T>, "borrow_eigen: the scalar is float, double, espalier::Index or bool; copy with from_eigen");
  static_assert(bool(int(Derived::Flags) & Eigen::DirectAccessBit), "borrow_eigen: an expression has no memory; use from_eigen");
  static_assert(bool(Derived::IsRowMajor) || bool(Derived::IsVectorAtCompileTime),
                "borrow_eigen: the matrix is column-major; use from_eigen, which copies, or Eigen::RowMajor");
  const Derived& m = x.derived();
  const bool whole = Derived::IsVectorAtCompileTime || m.rows() <= 1 || m.outerStride() == m.cols();
  if (x.size() > 0 && (m.innerStride() != 1 || !whole))
    fail("borrow_eigen: the values of ", detail::eigen_shape(x), " do not lie one after another (strides ", m.outerStride(),
         " and ", m.innerStride(), "); copy them with from_eigen");
  return Tensor<T>::from_span(detail::eigen_shape(x), {m.data(), static_cast<std::size_t>(x.size())});
}
/// A temporary matrix would be gone before the tensor.
template <class Derived>
void borrow_eigen(const Eigen::PlainObjectBase<Derived>&& x) = delete;

}  // namespace espalier::inline ESPALIER_ABI
