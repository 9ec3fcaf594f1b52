#include "espalier/io/dtype.hpp"

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("every dtype is found by its name", "[fast]") {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i) {
    const auto dtype = static_cast<Dtype>(i);
    CHECK(find_dtype(dtype_name(dtype)) == dtype);
  }
  CHECK(detail::dtypes.size() == static_cast<std::size_t>(Dtype::u64) + 1);
  CHECK_FALSE(find_dtype("f32"));
  CHECK_FALSE(find_dtype(""));
}

TEST_CASE("names and sizes belong together", "[fast]") {
  CHECK(dtype_name(Dtype::boolean) == "BOOL");
  CHECK(dtype_name(Dtype::bf16) == "BF16");
  CHECK(dtype_name(Dtype::f32) == "F32");
  CHECK(dtype_name(Dtype::c64) == "C64");
  CHECK(dtype_name(Dtype::u64) == "U64");
  CHECK(dtype_size(Dtype::boolean) == 1);
  CHECK(dtype_size(Dtype::f16) == 2);
  CHECK(dtype_size(Dtype::f32) == 4);
  CHECK(dtype_size(Dtype::c64) == 8);
}

TEST_CASE("C++ types have dtypes", "[fast]") {
  CHECK(dtype_of<float>() == Dtype::f32);
  CHECK(dtype_of<double>() == Dtype::f64);
  CHECK(dtype_of<bool>() == Dtype::boolean);
  CHECK(dtype_of<std::int8_t>() == Dtype::i8);
  CHECK(dtype_of<std::uint16_t>() == Dtype::u16);
  CHECK(dtype_of<int>() == Dtype::i32);
  CHECK(dtype_of<unsigned>() == Dtype::u32);
  CHECK(dtype_of<std::int64_t>() == Dtype::i64);
  CHECK(dtype_of<unsigned long long>() == Dtype::u64);
}
