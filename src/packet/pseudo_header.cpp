#include "packet/pseudo_header.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "packet/load.hpp"

namespace lookback::packet {

namespace {

using Bytes = std::span<std::byte>;

/// A field that lies behind the captured bytes, or in part, stays as it is.
void swap(Bytes data, size_t at, size_t width) {
  if (at <= data.size() && width <= data.size() - at)
    std::reverse(data.begin() + static_cast<ptrdiff_t>(at), data.begin() + static_cast<ptrdiff_t>(at + width));
}

struct Field {
  uint8_t at, width;
};
template <size_t n>
void swap_all(Bytes data, const Field (&fields)[n]) {
  for (const Field& field : fields) swap(data, field.at, field.width);
}

/// LINKTYPE_NULL: the address family.
void swap_null(Bytes data) { swap(data, 0, 4); }

/// LINKTYPE_PFLOG: uid, pid, rule_uid, rule_pid, as far as the header's length says that they are there.
void swap_pflog(Bytes data) {
  if (data.empty()) return;
  const Bytes header = data.first(std::min<size_t>(data.size(), load8(data.data())));
  swap_all(header, {{44, 4}, {48, 4}, {52, 4}, {56, 4}});
}

/// SocketCAN behind a cooked header: the CAN id; of CAN XL priority, length and acceptance field.
void swap_can(uint16_t protocol, Bytes frame) {
  constexpr uint16_t kCan = 0x000c, kCanFd = 0x000d, kCanXl = 0x000e;
  if (protocol == kCan || protocol == kCanFd) swap(frame, 0, 4);
  if (protocol == kCanXl) swap_all(frame, {{0, 4}, {6, 2}, {8, 4}});
}
void swap_sll(Bytes data) {
  constexpr size_t kHeader = 16, kProtocol = 14;
  if (data.size() >= kHeader) swap_can(load_be16(data.data() + kProtocol), data.subspan(kHeader));
}
void swap_sll2(Bytes data) {
  constexpr size_t kHeader = 20, kProtocol = 0;
  if (data.size() >= kHeader) swap_can(load_be16(data.data() + kProtocol), data.subspan(kHeader));
}

constexpr size_t kUsbTransferType = 9, kUsbHeader = 48, kUsbMappedHeader = 64, kUsbDescriptors = 60;

bool is_isochronous(Bytes data) { return data.size() > kUsbTransferType && load8(data.data() + kUsbTransferType) == 0; }

/// LINKTYPE_USB_LINUX: id, bus, seconds, microseconds, status, both lengths; error count and number of descriptors of an
/// isochronous transfer stand where others have their setup bytes, which belong to USB.
void swap_usb(Bytes data) {
  swap_all(data, {{0, 8}, {12, 2}, {16, 8}, {24, 4}, {28, 4}, {32, 4}, {36, 4}});
  if (is_isochronous(data)) swap_all(data, {{40, 4}, {44, 4}});
}

/// LINKTYPE_USB_LINUX_MMAPPED: interval, start frame, flags and number of descriptors follow, then the descriptors.
void swap_usb_mapped(Bytes data) {
  swap_usb(data);
  swap_all(data, {{kUsbHeader, 4}, {kUsbHeader + 4, 4}, {kUsbHeader + 8, 4}, {kUsbDescriptors, 4}});
  if (!is_isochronous(data) || data.size() < kUsbMappedHeader) return;
  constexpr size_t kDescriptor = 16;  // status, offset, length, padding
  const size_t descriptors = std::min<size_t>(load<uint32_t>(data.data() + kUsbDescriptors), (data.size() - kUsbMappedHeader) / kDescriptor + 1);
  for (size_t i = 0; i < descriptors; ++i) {
    const size_t at = kUsbMappedHeader + i * kDescriptor;
    for (const size_t field : {at, at + 4, at + 8}) swap(data, field, 4);
  }
}

/// LINKTYPE_NFLOG: length (its own header included) and type of each TLV; the values are in network order.
void swap_nflog(Bytes data) {
  constexpr size_t kHeader = 4, kVersion = 1, kTlvHeader = 4;
  if (data.size() < kHeader || load8(data.data() + kVersion) != 0) return;
  for (Bytes left = data.subspan(kHeader); left.size() >= kTlvHeader;) {
    swap_all(left, {{0, 2}, {2, 2}});
    const size_t length = (load<uint16_t>(left.data()) + size_t{3}) & ~size_t{3};
    if (length < kTlvHeader || length > left.size()) return;
    left = left.subspan(length);
  }
}

struct Swapper {
  uint16_t link_type;
  void (*swap)(Bytes);
};
constexpr Swapper kSwappers[] = {{0, swap_null},   {113, swap_sll}, {117, swap_pflog},      {189, swap_usb},
                                 {220, swap_usb_mapped}, {239, swap_nflog}, {276, swap_sll2}};

}  // namespace

void swap_pseudo_header(uint16_t link_type, std::span<std::byte> data) {
  const auto* at = std::find_if(std::begin(kSwappers), std::end(kSwappers), [&](const Swapper& one) { return one.link_type == link_type; });
  if (at != std::end(kSwappers)) at->swap(data);
}

}  // namespace lookback::packet
