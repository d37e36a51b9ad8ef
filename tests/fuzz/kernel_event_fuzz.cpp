// Records of the kernel programs and answers of sock_diag: a length (u16) and that many bytes,
// again and again.
#include <cstring>

#include "observe/proc_files.hpp"
#include "observe/socket_scan.hpp"
#include "observe/translator.hpp"

using namespace lookback;
using namespace lookback::observe;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  std::vector<DiagSocket> sockets;
  (void)parse_diag(bytes, kProtocolTcp, 1, sockets);
  (void)parse_stat({reinterpret_cast<const char*>(data), size});

  LiveTable table;
  Surroundings around;
  around.drop_reason = [](uint32_t) { return std::string("X"); };
  around.look_up_process = [](uint32_t pid) -> std::optional<Event> {
    Event event;
    event.pid = pid;
    return pid % 2 == 0 ? std::optional(event) : std::nullopt;
  };
  around.look_up_cgroup = [](uint64_t key, uint32_t) {
    Event event;
    event.text = key % 2 == 0 ? "/" : "/x";
    return event;
  };
  around.on_cgroup_path = [](uint64_t, const std::string&) {};
  around.v1_hierarchy = 4;
  std::string lines;
  Translator translator(table, around, [&](const Event& event) {
    lines.clear();
    append_json(event, lines);
  });
  while (bytes.size() >= 2) {
    uint16_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes = bytes.subspan(sizeof length);
    const auto record = bytes.first(std::min<size_t>(length, bytes.size()));
    translator.take(record);
    bytes = bytes.subspan(record.size());
  }
  table.checkpoint(1, "boot", [](const Event&) {});
  return 0;
}
