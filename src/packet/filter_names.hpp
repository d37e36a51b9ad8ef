#pragma once
// Names in filter expressions. libpcap asks the resolver for each ("host web-1"), which takes as long as the resolver takes and tells
// its servers what is looked for. While a NumericNames lives, the names that this thread's compilations meet are refused instead.
// The linker puts our functions in the place of libpcap's (cmake/Dependencies.cmake).

#include <string>

namespace lookback::packet {

class NumericNames {
 public:
  NumericNames();
  ~NumericNames();
  NumericNames(const NumericNames&) = delete;
  NumericNames& operator=(const NumericNames&) = delete;
  /// The first name that was refused; empty where none was.
  [[nodiscard]] const std::string& refused() const { return refused_; }
  void refuse(const char* name) {
    if (refused_.empty()) refused_ = name;
  }

 private:
  std::string refused_;
  NumericNames* before_;
};

}  // namespace lookback::packet
