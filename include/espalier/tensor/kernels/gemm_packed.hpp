#pragma once
// Included by name. PackedWeight: a layer's weight in the order in which gemm's tiles read it, for weights that stay as
// they are over many products. A product of few rows then copies nothing, and its elements have the bits that gemm gives
// them.

#include "espalier/core/memory.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// The weight [out, in] of y = x weight^T. Copies share what is packed. With another engine than the default one, whose bits
/// are its own, nothing is packed.
template <class T>
class PackedWeight {
 public:
  /// The weight must outlive this object.
  PackedWeight(Index out, Index in, const T* weight);

  Index in() const { return in_; }
  Index out() const { return out_; }
  /// y [m, out] = x [m, in] weight^T (+ bias) (activation); both dense. Unchecked.
  void apply(Index m, const T* x, T* y, const Epilogue<T>& epilogue) const;

 private:
  void rows(Index m, Index first, Index last, const T* x, T* y, const Epilogue<T>& epilogue) const;

  Index out_, in_;
  const T* weight_;
  const detail::GemmKernels<T>* kernels_;
  Index depth_ = 0, padded_ = 0;  // of a slice along `in`; `out` in whole vectors
  Ref<Buffer> panels_;            // slices of panels of wide_columns, the last panel of what is left in whole vectors
};

template <class T>
PackedWeight<T>::PackedWeight(Index out, Index in, const T* weight)
    : out_(out), in_(in), weight_(weight), kernels_(&detail::gemm_kernels<T>()) {
#if !defined(ESPALIER_GEMM_BLAS) && !defined(ESPALIER_GEMM_ONEDNN)
  const Strided<T> b{weight, 1, in};
  if (detail::is_narrow(*kernels_, out, in)) return;  // is read along `in`, as it lies
  depth_ = detail::Blocking::slice(in);
  padded_ = (out + kernels_->width - 1) / kernels_->width * kernels_->width;
  panels_ = make_buffer(static_cast<std::size_t>(padded_ * in) * sizeof(T));
  T* const to = reinterpret_cast<T*>(panels_->data);
  for (Index p = 0; p < in; p += depth_)
    for (Index j = 0; j < out; j += kernels_->wide_columns) {
      const Index depth = std::min(depth_, in - p), step = std::min(kernels_->wide_columns, padded_ - j);
      const Strided<T> from = b.from(p, j);
      kernels_->pack_panel(depth, std::min(step, out - j), &from, to + p * padded_ + j * depth, step);
    }
#endif
}

template <class T>
void PackedWeight<T>::apply(Index m, const T* x, T* y, const Epilogue<T>& epilogue) const {
  if (!panels_) return gemm<T>(m, out_, in_, {x, in_, 1}, {weight_, 1, in_}, y, out_, false, epilogue);
  constexpr Index columns = detail::Blocking::task_columns;
  const Index block = 8 * kernels_->tile_rows;
  if (m <= block && out_ <= columns) return rows(m, 0, out_, x, y, epilogue);
  const Index column_tasks = (out_ + columns - 1) / columns;
  parallel_for((m + block - 1) / block * column_tasks, m * out_ * in_, [&](Index task) {
    const Index i = task / column_tasks * block, j = task % column_tasks * columns;
    rows(std::min(block, m - i), j, std::min(out_, j + columns), x + i * in_, y + i * out_, epilogue);
  });
}

/// Columns [first, last) of m rows.
template <class T>
void PackedWeight<T>::rows(Index m, Index first, Index last, const T* x, T* y, const Epilogue<T>& epilogue) const {
  const detail::GemmKernels<T>& kernels = *kernels_;
  const T* const panels = reinterpret_cast<const T*>(panels_->data);
  detail::TileRun<T> run{.ldc = out_};
  detail::set_layout(kernels.tile_rows, Strided<T>{x, in_, 1}, run);
  for (Index p = 0; p < in_; p += depth_) {
    run.depth = std::min(depth_, in_ - p);
    run.accumulate = p > 0;
    const bool end = p + depth_ >= in_;
    if (end) run.activation = epilogue.activation;
    const T* const bias = end ? epilogue.bias : nullptr;
    for (Index j = first; j < last;) {
      const Index begin = j / kernels.wide_columns * kernels.wide_columns;  // of the panel
      run.b_step = std::min(kernels.wide_columns, padded_ - begin);
      run.bias = bias ? bias + j : nullptr;
      const T* const panel = panels + p * padded_ + begin * run.depth + (j - begin);
      const bool wide = m <= kernels.wide_rows && j + kernels.wide_columns <= last;
      run.columns = wide ? kernels.wide_columns : std::min(kernels.tile_columns(), last - j);
      (wide ? kernels.wide : run.columns <= kernels.width ? kernels.one : kernels.two)(m, x + p, panel, y + j, run);
      j += run.columns;
    }
  }
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
