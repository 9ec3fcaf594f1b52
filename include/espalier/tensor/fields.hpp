#pragma once
// fields: what an object is made of. A type lists its members once,
//
//   void fields(auto&& visit) { visit("weight", weight); visit("bias", bias); }
//
// and parameters, names, saving, loading, cloning and printing follow. Members are tensors, numbers, texts, vectors, and
// other types with fields. Paths are PyTorch's: "trunk.0.weight".

#include <optional>
#include <string>
#include <vector>

#include "espalier/tensor/tensor.hpp"

namespace espalier::inline ESPALIER_ABI {

class Visitor;

namespace detail {
/// What a visitor knows how to take.
template <class T>
inline constexpr bool is_field = false;
template <class T>
inline constexpr bool is_field<Tensor<T>> = true;
template <class T>
inline constexpr bool is_field<std::vector<T>> = true;
template <class T>
inline constexpr bool is_field<std::optional<T>> = true;
template <>
inline constexpr bool is_field<std::string> = true;
}  // namespace detail

/// Whether a type seems to hold tensors that nobody finds: without fields, yet not plain numbers, and no lambda (which cannot
/// have fields, and cannot be assigned once it has captured something).
template <class M>
inline constexpr bool hides_tensors =
    std::is_class_v<M> && !requires(M& m, Visitor& visit) { m.fields(visit); } && !std::is_trivially_copyable_v<M> &&
    std::is_copy_assignable_v<M>;

/// Walks an object's fields; a concrete visitor says what to do at each tensor, number and text.
class Visitor {
 public:
  virtual ~Visitor() = default;

  template <class Field>
  void operator()(std::string_view name, Field& field) {
    static_assert(detail::is_field<Field> || !hides_tensors<Field>,
                  "fields: what is visited is a tensor, a number, a text, a list of these, or has `void fields(auto&& "
                  "visit)` itself");
    walk_into(name, field);
  }
  /// The same for whatever a program made; without fields there is nothing in it to visit.
  template <class Object>
  void walk_into(std::string_view name, Object& field) {
    const std::size_t length = path_.size();
    if (!path_.empty() && !name.empty()) path_ += '.';
    path_ += name;
    visit(field);
    path_.resize(length);
  }
  /// The path of the field being visited.
  const std::string& path() const { return path_; }

 protected:
  virtual void tensor(Tensor<float>& field) = 0;
  virtual void tensor(Tensor<double>& field) = 0;
  virtual void tensor(Tensor<Index>& field) = 0;
  virtual void tensor(Tensor<bool>& field) = 0;
  virtual void number(double& field) { (void)field; }
  virtual void number(Index& field) { (void)field; }
  virtual void number(std::uint64_t& field) { (void)field; }
  virtual void number(bool& field) { (void)field; }
  virtual void text(std::string& field) { (void)field; }
  /// A list of texts is one field: unlike that of other lists, its length may change when it is loaded.
  virtual void texts(std::vector<std::string>& field) { (void)field; }

 private:
  template <class T>
  void visit(Tensor<T>& field) { tensor(field); }
  void visit(double& field) { number(field); }
  void visit(Index& field) { number(field); }
  void visit(std::uint64_t& field) { number(field); }
  void visit(bool& field) { number(field); }
  void visit(std::string& field) { text(field); }
  void visit(std::vector<std::string>& field) { texts(field); }
  template <class Item>
  void visit(std::vector<Item>& items) {
    for (std::size_t i = 0; i < items.size(); ++i) (*this)(std::to_string(i), items[i]);
  }
  template <class Item>
  void visit(std::optional<Item>& item) {
    if (item) visit(*item);
  }
  template <class Object>
    requires std::is_class_v<Object>
  void visit(Object& object) {
    // Functions and lambdas are modules too: without fields there is nothing to visit.
    if constexpr (requires { object.fields(*this); }) object.fields(*this);
  }

  std::string path_;
};

/// Walks a whole object, with an optional name in front of every path.
template <class Object>
void walk(Object& object, Visitor& visitor, std::string_view name = "") {
  visitor.walk_into(name, object);
}

}  // namespace espalier::inline ESPALIER_ABI
