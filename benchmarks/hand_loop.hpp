#pragma once
// The baseline of the training lines: the same arithmetic as program 02 written by hand with Eigen, nothing around it. One
// shared trunk of linear layers with ReLU between them, the heads as one matrix, summed MSE, Adam.

#include <Eigen/Core>
#include <cmath>
#include <vector>

namespace hand {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Row = Eigen::RowVectorXf;

/// A layer with its gradients and Adam's moments.
struct Layer {
  Matrix weight, weight_gradient, weight_mean, weight_square;  // [in, out]
  Row bias, bias_gradient, bias_mean, bias_square;

  Layer(int in, int out)
      : weight(Matrix::Random(in, out) / std::sqrt(static_cast<float>(in))),
        weight_gradient(Matrix::Zero(in, out)),
        weight_mean(Matrix::Zero(in, out)),
        weight_square(Matrix::Zero(in, out)),
        bias(Row::Zero(out)),
        bias_gradient(Row::Zero(out)),
        bias_mean(Row::Zero(out)),
        bias_square(Row::Zero(out)) {}

  void forward(const Matrix& x, Matrix& y) const {
    y.noalias() = x * weight;
    y.rowwise() += bias;
  }
  void gradients(const Matrix& x, const Matrix& dy) {
    weight_gradient.noalias() = x.transpose() * dy;
    bias_gradient = dy.colwise().sum();
  }
  template <class Value>
  static void adam(Value& value, const Value& gradient, Value& mean, Value& square, float c1, float c2) {
    mean = 0.9f * mean + 0.1f * gradient;
    square = 0.999f * square + 0.001f * gradient.cwiseAbs2();
    value.array() -= 1e-3f / c1 * mean.array() / ((square.array() / c2).sqrt() + 1e-8f);
  }
  void step(float c1, float c2) {
    adam(weight, weight_gradient, weight_mean, weight_square, c1, c2);
    adam(bias, bias_gradient, bias_mean, bias_square, c1, c2);
  }
};

class Loop {
 public:
  /// `sizes` are those of the trunk: in, hidden..., out.
  Loop(const std::vector<int>& sizes, int heads, int batch)
      : head_(sizes.back(), heads), x_(Matrix::Random(batch, sizes[0])), target_(Matrix::Random(batch, heads)) {
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) trunk_.emplace_back(sizes[i], sizes[i + 1]);
    activations_.resize(trunk_.size() + 1);
    adjoints_.resize(trunk_.size() + 1);
    activations_[0] = x_;
  }

  float step() {
    const std::size_t layers = trunk_.size();
    const auto batch = static_cast<float>(x_.rows());
    for (std::size_t i = 0; i < layers; ++i) {
      trunk_[i].forward(activations_[i], activations_[i + 1]);
      if (i + 1 < layers) activations_[i + 1] = activations_[i + 1].cwiseMax(0.0f);
    }
    head_.forward(activations_[layers], prediction_);
    error_ = prediction_ - target_;
    const float loss = error_.squaredNorm() / batch;
    error_ *= 2 / batch;
    head_.gradients(activations_[layers], error_);
    adjoints_[layers].noalias() = error_ * head_.weight.transpose();
    for (std::size_t i = layers; i-- > 0;) {
      if (i + 1 < layers) adjoints_[i + 1].array() *= (activations_[i + 1].array() > 0.0f).cast<float>();
      trunk_[i].gradients(activations_[i], adjoints_[i + 1]);
      if (i > 0) adjoints_[i].noalias() = adjoints_[i + 1] * trunk_[i].weight.transpose();
    }
    ++steps_;
    const float c1 = 1 - std::pow(0.9f, static_cast<float>(steps_)), c2 = 1 - std::pow(0.999f, static_cast<float>(steps_));
    for (Layer& layer : trunk_) layer.step(c1, c2);
    head_.step(c1, c2);
    return loss;
  }

 private:
  std::vector<Layer> trunk_;
  Layer head_;
  Matrix x_, target_, prediction_, error_;
  std::vector<Matrix> activations_, adjoints_;
  int steps_ = 0;
};

}  // namespace hand
