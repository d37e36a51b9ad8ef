#pragma once
// pcap-filter expressions compiled for the kernel's packet socket, one program a link type.
//
// libpcap knows two ways of compiling. For a capture file ("dead" handle) a VLAN tag stands in the data; for a live
// interface the kernel has taken the outer tag out of the frame and `vlan` has to ask the socket filter's extensions for it
// (SKF_AD_VLAN_TAG_PRESENT, linux/filter.h). Only an activated handle gets the second way, so one is opened on an
// example interface for the moment of compiling, and closed again.
//
// pcap.h and linux/filter.h define the same names: this header includes neither.

#include <cstdint>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/filter.hpp"

namespace lookback::capture {

struct LinkProgram {
  std::vector<packet::BpfInstruction> code;  ///< empty: everything matches
  bool live = false;                         ///< compiled with the kernel's VLAN extensions
};

/// Compiles `expression` for `link_type` (a LINKTYPE_ value). `examples` are names of interfaces of that type that are up; where
/// none of them can be opened, or libpcap would read it in another form than a raw socket does, the program is the one for
/// capture files. Errors are libpcap's message, kind invalid. Thread-safe.
[[nodiscard]] Result<LinkProgram> compile_for_link(const std::string& expression, uint16_t link_type,
                                                   const std::vector<std::string>& examples);

/// True where the expression has a word whose program differs between the two ways of compiling.
[[nodiscard]] bool mentions_vlan(const std::string& expression);

}  // namespace lookback::capture
