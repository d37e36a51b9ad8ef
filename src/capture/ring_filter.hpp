#pragma once
// The filter of a ring: the user's expression for every link type there is, the excluded connections, the selected
// interfaces. Makes the one program for the socket from them. One thread at a time.

#include <cstdint>
#include <string>
#include <vector>

#include "capture/interface_table.hpp"
#include "capture/kernel_filter.hpp"
#include "lookback/capture/capture.hpp"

namespace lookback::capture {

class RingFilter {
 public:
  /// Compiles the user's expression for every link type. invalid: its syntax; an expression that is right but says nothing about a link
  /// type (an Ethernet address for a tunnel) is none, only rejects that type's packets, as long as some type is left.
  [[nodiscard]] static Result<RingFilter> create(const RingOptions& options,
                                                 const std::vector<LinkEntry>& interfaces);

  /// Compiles link types again whose program was made without a live example, where there is one now.
  void improve(const std::vector<LinkEntry>& interfaces);
  [[nodiscard]] Result<> set_excluded(const std::vector<ExcludedConnection>& exclude);
  [[nodiscard]] bool selects(const std::string& interface_name) const;
  /// No interface was asked for by name: all are recorded.
  [[nodiscard]] bool selects_all() const { return selection_.empty(); }
  [[nodiscard]] Result<Program> program(const std::vector<LinkEntry>& interfaces) const;

 private:
  struct Link {
    uint16_t link_type = 0;
    std::vector<uint16_t> hardware_types;  ///< empty for the type that stands for all others
    Program include;
    bool reject = false;
    bool live = false;
  };
  RingFilter() = default;

  std::string expression_;
  std::vector<std::string> selection_;
  uint32_t snaplen_ = 0;
  std::vector<Exclusion> exclusions_;
  std::vector<Link> links_;  ///< Ethernet first, the one without hardware types last
};

/// invalid: what is not an address, ends of two families, and a connection that names no port.
[[nodiscard]] Result<std::vector<Exclusion>> parse_exclusions(const std::vector<ExcludedConnection>& exclude);

}  // namespace lookback::capture
