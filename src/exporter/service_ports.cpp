#include "exporter/service_ports.hpp"

#include <algorithm>
#include <iterator>

namespace lookback::exporter {

namespace {

/// Ports on which services wait: registered with IANA, or what widespread software listens on.
/// Sorted.
constexpr uint16_t kKnown[] = {
    7,     9,     13,    19,    21,    22,    23,    25,    37,    43,    49,    53,    67,
    69,    70,    79,    80,    88,    102,   110,   111,   113,   119,   123,   135,   137,
    138,   139,   143,   161,   162,   179,   194,   389,   427,   443,   445,   464,   465,
    500,   502,   514,   515,   520,   548,   554,   587,   593,   623,   631,   636,   646,
    853,   860,   873,   902,   989,   990,   993,   995,   1080,  1194,  1352,  1433,  1434,
    1521,  1701,  1723,  1812,  1813,  1883,  1900,  2049,  2181,  2375,  2376,  2379,  2380,
    2483,  2484,  3128,  3260,  3268,  3269,  3306,  3389,  3478,  3690,  3868,  4222,  4369,
    4500,  4789,  5000,  5001,  5060,  5061,  5201,  5222,  5269,  5353,  5355,  5432,  5601,
    5671,  5672,  5683,  5684,  5900,  5984,  5985,  5986,  6000,  6081,  6379,  6443,  6514,
    6653,  6667,  7000,  7001,  7077,  7474,  7687,  8000,  8008,  8080,  8081,  8086,  8088,
    8089,  8125,  8200,  8300,  8301,  8302,  8333,  8443,  8472,  8500,  8600,  8883,  8888,
    9000,  9042,  9090,  9092,  9093,  9094,  9100,  9160,  9200,  9300,  9411,  9418,  9443,
    10050, 10051, 10250, 10255, 10256, 10257, 10259, 11211, 11434, 15672, 16686, 25565, 25672,
    26257, 26379, 27017, 27018, 27019, 28015, 32400, 50051, 51820, 61616,
};
static_assert(std::is_sorted(std::begin(kKnown), std::end(kKnown)));

/// Below this only the system's own programs may listen; clients of some old protocols send from
/// there, too.
constexpr uint16_t kFirstOfAnybody = 1024;
/// From here on hosts choose ports for clients (Linux' ip_local_port_range; RFC 6335 begins later).
constexpr uint16_t kFirstChosen = 32768;

/// How likely somebody waits on this port, the lowest the likeliest.
unsigned rank(uint16_t port) {
  if (std::binary_search(std::begin(kKnown), std::end(kKnown), port)) return 0;
  if (port < kFirstOfAnybody) return 1;
  return port < kFirstChosen ? 2 : 3;
}

}  // namespace

std::optional<unsigned> service_of(uint16_t a, uint16_t b, bool ordered) {
  if (a == 0 || b == 0 || a == b) return std::nullopt;
  const unsigned rank_a = rank(a), rank_b = rank(b);
  if (rank_a != rank_b) return rank_a < rank_b ? 0 : 1;
  if (!ordered) return std::nullopt;
  return a < b ? 0 : 1;
}

}  // namespace lookback::exporter
