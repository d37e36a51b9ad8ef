#include "lookback/base/json_fields.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace lookback {

namespace {

/// Builds one value from parser events.
class ValueBuilder {
 public:
  explicit ValueBuilder(size_t max_values) : max_values_(max_values) {}
  /// False once the value is too large.
  bool add(Json value, bool opens) {
    if (++nodes_ > max_values_ || open_.size() >= kMaxFieldDepth) return false;
    Json* placed = nullptr;
    if (open_.empty()) {
      root_ = std::move(value);
      placed = &root_;
    } else if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      placed = &open_.back()->back();
    } else {
      if (open_.back()->contains(key_)) return false;
      placed = &(*open_.back())[key_];
      *placed = std::move(value);
    }
    if (opens) open_.push_back(placed);
    return true;
  }
  void set_key(std::string key) { key_ = std::move(key); }
  void close() { open_.pop_back(); }
  [[nodiscard]] bool complete() const { return open_.empty(); }
  Json take() {
    nodes_ = 0;
    return std::exchange(root_, Json());
  }

 private:
  const size_t max_values_;
  Json root_;
  std::vector<Json*> open_;  ///< containers not closed yet, outermost first; only the last one grows
  std::string key_;
  size_t nodes_ = 0;
};

/// The events of nlohmann's SAX parser. Returning false ends the parse; `error` then says why.
class FieldReader final : public nlohmann::json_sax<Json> {
 public:
  explicit FieldReader(const FieldHandlers& handlers) : handlers_(handlers), builder_(handlers.max_values) {}
  std::optional<Error> error;

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(int64_t value) override { return scalar(value); }
  bool number_unsigned(uint64_t value) override { return scalar(value); }
  bool number_float(double value, const std::string&) override { return scalar(value); }
  bool string(std::string& value) override { return scalar(std::move(value)); }
  bool binary(Json::binary_t&) override { return refuse("a binary value"); }
  bool start_object(size_t) override { return start(Json::object()); }
  bool start_array(size_t) override { return start(Json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }

  bool key(std::string& value) override {
    if (depth_ > 1) {
      if (mode_ != Mode::skip) builder_.set_key(std::move(value));
      return true;
    }
    field_ = std::move(value);
    mode_ = handlers_.is_unknown(field_) ? Mode::skip : handlers_.is_streamed(field_) ? Mode::streamed : Mode::whole;
    if (mode_ == Mode::skip) return true;
    if (std::find(seen_.begin(), seen_.end(), field_) != seen_.end()) return refuse(fmt::format("'{}' stands there twice", field_));
    seen_.push_back(field_);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return refuse(fmt::format("not valid JSON at byte {}", position));
  }

 private:
  enum class Mode { whole, streamed, skip };

  bool refuse(std::string message) {
    error = Error{ErrorKind::corrupt, std::move(message)};
    return false;
  }

  bool scalar(Json value) {
    if (depth_ == 0) return refuse("not a JSON object");
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::streamed && depth_ == 1) return refuse(fmt::format("'{}' is not an array", field_));
    if (!builder_.add(std::move(value), false)) return too_large();
    return finish_value();
  }

  bool start(Json container) {
    const size_t depth = depth_++;
    if (depth == 0) return container.is_object() || refuse("not a JSON object");
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::streamed && depth == 1)
      return container.is_array() || refuse(fmt::format("'{}' is not an array", field_));
    return builder_.add(std::move(container), true) || too_large();
  }

  bool end() {
    const size_t depth = --depth_;
    if (depth == 0 || mode_ == Mode::skip) return true;
    if (mode_ == Mode::streamed && depth == 1) return true;  // the streamed array itself
    builder_.close();
    return finish_value();
  }

  bool finish_value() {
    if (!builder_.complete()) return true;
    auto handled = mode_ == Mode::streamed ? handlers_.element(field_, builder_.take()) : handlers_.field(field_, builder_.take());
    if (handled) return true;
    error = std::move(handled).error();
    return false;
  }

  bool too_large() { return refuse(fmt::format("'{}' nests too deeply, is too large or has a key twice", field_)); }

  const FieldHandlers& handlers_;
  ValueBuilder builder_;
  std::string field_;
  std::vector<std::string> seen_;  ///< known fields only, so it stays short
  Mode mode_ = Mode::skip;
  size_t depth_ = 0;
};

}  // namespace

Result<> read_json_fields(std::string_view text, const FieldHandlers& handlers) {
  FieldReader reader(handlers);
  if (Json::sax_parse(text.begin(), text.end(), &reader)) return {};
  return tl::make_unexpected(reader.error.value_or(Error{ErrorKind::corrupt, "not valid JSON"}));
}

}  // namespace lookback
