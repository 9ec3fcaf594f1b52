// Tensors: making them, broadcasting, slices, reductions and products; and memory that is shared, not copied, with a
// std::vector and with Eigen.

#include <espalier/espalier.hpp>
#include <espalier/tensor/eigen.hpp>  // the only header that needs Eigen

#include <cstdio>

using namespace espalier;

namespace {

template <class T>
void show(const char* what, const Tensor<T>& x) {
  std::printf("%-22s %s\n", what, x.text().c_str());
}

}  // namespace

int main() {
  // Values are row-major; float unless said otherwise.
  const Tensor<float> x({2, 3}, {1, 2, 3, 4, 5, 6});
  show("x", x);
  show("reshape", reshape(x, {3, 2}));
  show("transpose", transpose(x));
  show("ones", Tensor<double>::ones({2, 2}));

  // Shapes are matched from the last axis; an axis of size 1, or a missing one, repeats.
  const Tensor<float> row({3}, {10, 20, 30}), column({2, 1}, {100, 200});
  show("x + row", x + row);
  show("2 * x + column", 2 * x + column);
  show("x > mean", x > mean(x));

  show("slice of the columns", slice(x, 1, 0, 2));
  show("gather of columns", gather(x, Tensor<Index>({2}, {2, 0}), 1));
  show("concat", concat(std::vector{x, x + 6}, 0));

  show("sum", sum(x));
  show("mean of each row", mean(x, {1}));
  show("centred rows", x - mean(x, {1}, {.keep_axes = true}));
  show("argmax of each row", argmax(x));
  show("matmul", matmul(x, transpose(x)));

  // A copy of a tensor is a second handle on the same values; a clone has its own.
  Tensor<float> a = Tensor<float>::zeros({2}), handle = a, other = a.clone();
  a.mutate()[0] = 7;
  std::printf("\nhandle %g, clone %g\n\n", handle(0), other(0));

  // A std::vector's memory without a copy: a read-only tensor, which the vector must outlive.
  std::vector<double> samples{1, 2, 3, 4};
  const auto borrowed = Tensor<double>::from_span({2, 2}, samples);
  samples[0] = 10;
  show("of a vector", borrowed);

  // Eigen sees and writes a tensor's values through maps; a tensor borrows, or copies, what Eigen has.
  auto t = Tensor<double>::ones({2, 2});
  as_matrix_mutable(t) += as_matrix(borrowed).transpose();
  show("written by Eigen", t);
  const EigenMatrix<double> m = as_matrix(t) * as_matrix(t);
  show("borrowed from Eigen", borrow_eigen(m));
  show("copied from Eigen", from_eigen(m.rowwise().sum()));
}
