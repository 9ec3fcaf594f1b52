#include "espalier/tensor/eigen.hpp"

#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::list;

TEST_CASE("a tensor is seen as a matrix without a copy", "[fast]") {
  Tensor<float> x({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto m = as_matrix(x);
  CHECK(m.data() == x.data());
  CHECK(m.rows() == 2);
  CHECK(m.cols() == 3);
  CHECK(m(1, 0) == 4);
  CHECK((m * m.transpose())(0, 1) == 32);
  const Tensor<float> row = x.view({1, 3}, 3);
  CHECK(as_matrix(row)(0, 2) == 6);
}

TEST_CASE("a matrix written through is an update of the tensor", "[fast]") {
  Tensor<double> x = Tensor<double>::zeros({2, 2});
  as_matrix_mutable(x) << 1, 2, 3, 4;
  CHECK(list(x) == std::vector<double>{1, 2, 3, 4});
  CHECK(x.version() == 1);
  as_vector_mutable(x).array() *= 2;
  CHECK(list(x) == std::vector<double>{2, 4, 6, 8});
  CHECK(x.version() == 2);
}

TEST_CASE("a tensor of any shape is a vector", "[fast]") {
  const Tensor<float> x({2, 2, 1}, {1, 2, 3, 4});
  CHECK(as_vector(x).size() == 4);
  CHECK(as_vector(x).sum() == 10);
  CHECK(as_vector(Tensor<float>::scalar(7))(0) == 7);
  CHECK(as_vector(Tensor<float>::zeros({0, 3})).size() == 0);
}

TEST_CASE("what is no matrix is refused", "[fast]") {
  Tensor<float> x = Tensor<float>::zeros({2, 3, 4}), none;
  CHECK_THROWS_WITH(as_matrix(x), "as_matrix: the tensor is [2, 3, 4]; a matrix has two axes (reshape it first)");
  CHECK_THROWS_WITH(as_matrix_mutable(x), "as_matrix_mutable: the tensor is [2, 3, 4]; a matrix has two axes (reshape it first)");
  CHECK_THROWS_WITH(as_matrix(none), "as_matrix: the tensor is undefined; give it values first");
  CHECK_THROWS_WITH(as_vector(none), "values: the tensor is undefined; give it values first");
  const std::vector<float> memory{1, 2};
  Tensor<float> borrowed = Tensor<float>::from_span({1, 2}, memory);
  CHECK_THROWS_WITH(as_matrix_mutable(borrowed), "mutate: the tensor [1, 2] is a read-only view of borrowed memory; clone it first");
}

TEST_CASE("Eigen's matrices and expressions are copied, whatever their order", "[fast]") {
  Eigen::MatrixXf m(2, 3);  // column by column
  m << 1, 2, 3, 4, 5, 6;
  CHECK(from_eigen(m).shape() == Shape{2, 3});
  CHECK(list(from_eigen(m)) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(list(from_eigen(m.transpose())) == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(list(from_eigen(m.block(0, 1, 2, 2))) == std::vector<float>{2, 3, 5, 6});
  CHECK(list(from_eigen(2 * m + m)) == std::vector<float>{3, 6, 9, 12, 15, 18});
  CHECK(list(from_eigen(m.array() > 3)) == std::vector<bool>{false, false, false, true, true, true});
  CHECK(list(from_eigen(m.cast<Index>())) == std::vector<Index>{1, 2, 3, 4, 5, 6});
  const Eigen::VectorXd v = Eigen::VectorXd::LinSpaced(3, 0, 2);
  CHECK(from_eigen(v).shape() == Shape{3});
  CHECK(from_eigen(v.transpose()).shape() == Shape{3});
  CHECK(list(from_eigen(v)) == std::vector<double>{0, 1, 2});
  CHECK(from_eigen(Eigen::MatrixXd(0, 4)).shape() == Shape{0, 4});
}

TEST_CASE("row-major matrices and vectors are borrowed without a copy", "[fast]") {
  EigenMatrix<double> m(3, 2);
  m << 1, 2, 3, 4, 5, 6;
  Tensor<double> x = borrow_eigen(m);
  CHECK(x.data() == m.data());
  CHECK(x.shape() == Shape{3, 2});
  m(0, 1) = 9;
  CHECK(x(0, 1) == 9);
  CHECK_THROWS_WITH(x.mutate(), "mutate: the tensor [3, 2] is a read-only view of borrowed memory; clone it first");
  CHECK(list(borrow_eigen(m.middleRows(1, 2))) == std::vector<double>{3, 4, 5, 6});
  CHECK(borrow_eigen(m.row(1)).shape() == Shape{2});
  const Eigen::VectorXf v = Eigen::VectorXf::Ones(4);
  CHECK(borrow_eigen(v).data() == v.data());
  CHECK(borrow_eigen(v.segment(1, 2)).data() == v.data() + 1);
  const double numbers[] = {1, 2, 3, 4};
  CHECK(borrow_eigen(Eigen::Map<const EigenMatrix<double>>(numbers, 2, 2)).data() == numbers);
}

TEST_CASE("what does not lie in one piece is not borrowed", "[fast]") {
  const EigenMatrix<double> m = EigenMatrix<double>::Zero(3, 4);
  CHECK_THROWS_WITH(borrow_eigen(m.leftCols(2)),
                    "borrow_eigen: the values of [3, 2] do not lie one after another (strides 4 and 1); copy them with from_eigen");
  CHECK_THROWS_WITH(borrow_eigen(m.col(1)),
                    "borrow_eigen: the values of [3] do not lie one after another (strides 1 and 4); copy them with from_eigen");
  CHECK(borrow_eigen(m.topLeftCorner(1, 2)).shape() == Shape{1, 2});
}
