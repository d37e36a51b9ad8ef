#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "capture/interface_table.hpp"
#include "capture/promiscuous.hpp"
#include "capture/ring_filter.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"
#include "lookback/capture/capture.hpp"

namespace lookback::capture {
namespace {

constexpr int kRetireMs = 20;  // the kernel closes an open block after one to two of these
constexpr uint32_t kMinBlockBytes = 256 << 10, kMaxBlockBytes = 4 << 20;
constexpr uint64_t kMinRingBytes = 2 << 20, kMaxRingBytes = 64ULL << 30;
constexpr uint32_t kFrameBytes = 2048;  // TPACKET_V3 packs packets; this only has to divide a block

template <class T>
Result<> set_option(int fd, int option, const T& value, std::string_view what) {
  if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) != 0) return fail_errno(errno, what);
  return {};
}

/// The ring's memory, mapped from its socket.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : memory_(std::exchange(other.memory_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Mapping() {
    if (!memory_.empty()) munmap(memory_.data(), memory_.size());
  }
  [[nodiscard]] static Result<Mapping> map(int fd, size_t bytes) {
    void* const address =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (address == MAP_FAILED)
      return fail_errno(errno, fmt::format("cannot map a packet ring of {}", format_size(bytes)));
    Mapping mapping;
    mapping.memory_ = {static_cast<std::byte*>(address), bytes};
    return mapping;
  }
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }

 private:
  std::span<std::byte> memory_;
};

class KernelRing final : public Ring {
 public:
  KernelRing(Fd socket, Fd wake, Fd waits, Mapping mapping, uint32_t block_bytes,
             InterfaceTable table, RingFilter filter, Program program, bool promiscuous)
      : socket_(std::move(socket)),
        wake_(std::move(wake)),
        waits_(std::move(waits)),
        mapping_(std::move(mapping)),
        block_bytes_(block_bytes),
        blocks_(static_cast<uint32_t>(mapping_.memory().size() / block_bytes)),
        leases_(std::make_unique<std::atomic<bool>[]>(blocks_)),
        table_(std::move(table)),
        filter_(std::move(filter)),
        program_(std::move(program)),
        promiscuous_(promiscuous) {}

  /// Once, when the socket is bound.
  [[nodiscard]] Result<> begin();
  std::span<std::byte> memory() const override { return mapping_.memory(); }
  uint32_t block_bytes() const override { return block_bytes_; }
  int retire_timeout_ms() const override { return 2 * kRetireMs; }

  Result<Block> next(int timeout_ms) override;
  void wake() override;
  RingDrops take_drops() override;
  Result<bool> refresh_interfaces() override;
  std::vector<packet::Interface> interfaces() const override;
  bool selects(const std::string& interface_name) const override { return filter_.selects(interface_name); }
  Result<> set_excluded(std::vector<ExcludedConnection> exclude) override;

 private:
  tpacket_block_desc* descriptor(uint32_t block) const {
    return reinterpret_cast<tpacket_block_desc*>(mapping_.memory().data() +
                                                 size_t{block} * block_bytes_);
  }
  Block take_ready();
  Result<> attach_if_changed();
  void set_promiscuous();

  const Fd socket_, wake_, waits_;
  const Mapping mapping_;
  const uint32_t block_bytes_;
  const uint32_t blocks_;
  const std::unique_ptr<std::atomic<bool>[]> leases_;
  uint32_t next_block_ = 0;  // of the thread that calls next()

  mutable std::mutex mutex_;  // guards what follows
  InterfaceTable table_;
  RingFilter filter_;
  Program program_;  // as attached
  const bool promiscuous_;
  PromiscuousMode mode_;
};

Result<> attach(int fd, const Program& program) {
  // SO_ATTACH_FILTER copies; its structure only lacks the const.
  const sock_fprog filter{static_cast<unsigned short>(program.size()),
                          reinterpret_cast<sock_filter*>(
                              const_cast<packet::BpfInstruction*>(program.data()))};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0)
    return fail_errno(errno, "the kernel does not take the packet filter");
  return {};
}

Block KernelRing::take_ready() {
  if (leases_[next_block_].load(std::memory_order_acquire)) return {};  // still out since the last round
  tpacket_block_desc* const block = descriptor(next_block_);
  auto& header = block->hdr.bh1;
  if ((std::atomic_ref(header.block_status).load(std::memory_order_acquire) & TP_STATUS_USER) == 0)
    return {};
  leases_[next_block_].store(true, std::memory_order_relaxed);
  Block taken({reinterpret_cast<std::byte*>(block), block_bytes_}, &header.block_status,
              &leases_[next_block_]);
  taken.packets = header.num_pkts;
  taken.used_bytes = std::min(header.blk_len, block_bytes_);
  taken.first_packet = header.offset_to_first_pkt;
  taken.first_ns = header.ts_first_pkt.ts_sec * kNsPerSecond + header.ts_first_pkt.ts_nsec;
  taken.last_ns = header.ts_last_pkt.ts_sec * kNsPerSecond + header.ts_last_pkt.ts_nsec;
  next_block_ = (next_block_ + 1) % blocks_;
  return taken;
}

Result<Block> KernelRing::next(int timeout_ms) {
  const int64_t deadline =
      Clock::system().monotonic_ns() + static_cast<int64_t>(timeout_ms) * 1'000'000;
  for (;;) {
    // A block is the kernel's again a moment before its lease ends. Where all of them are out, the kernel may fill and close
    // the next one within that moment, and the event be spent before we may take it: then there is another look soon.
    const bool all_out = leases_[next_block_].load(std::memory_order_acquire);
    if (Block block = take_ready()) return block;
    const int64_t left_ns = deadline - Clock::system().monotonic_ns();
    if (timeout_ms == 0 || left_ns <= 0) return Block{};
    std::array<epoll_event, 3> events;
    const int ready =
        epoll_wait(waits_.get(), events.data(), events.size(),
                   all_out ? 1 : static_cast<int>((left_ns + 999'999) / 1'000'000));
    if (ready < 0) {
      if (errno == EINTR) return Block{};
      return fail_errno(errno, "cannot wait for packets");
    }
    bool interrupted = false;
    for (const auto& event : std::span(events).first(static_cast<size_t>(ready))) {
      if (event.data.fd == wake_.get()) {
        uint64_t count = 0;
        // Nobody else reads it; only the wake-up itself counts.
        [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof count);
        interrupted = true;
      } else if (event.data.fd != socket_.get()) {
        interrupted = true;
      } else if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        // An interface that goes down says ENETDOWN; the others go on.
        if (error != 0 && error != ENETDOWN) return fail_errno(error, "the packet socket failed");
      }
    }
    if (interrupted) return Block{};
  }
}

void KernelRing::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
}

RingDrops KernelRing::take_drops() {
  tpacket_stats_v3 statistics{};
  socklen_t size = sizeof statistics;
  if (getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &statistics, &size) != 0) return {};
  return {statistics.tp_packets, statistics.tp_drops, statistics.tp_freeze_q_cnt};
}

Result<> KernelRing::attach_if_changed() {
  TRY_ASSIGN(Program program, filter_.program(table_.entries()));
  if (program.size() == program_.size() &&
      std::memcmp(program.data(), program_.data(), program.size() * sizeof program[0]) == 0)
    return {};
  TRY(attach(socket_.get(), program));
  program_ = std::move(program);
  return {};
}

void KernelRing::set_promiscuous() {
  if (!promiscuous_ || filter_.selects_all()) return;
  mode_.apply(socket_.get(), table_.entries(),
              [this](const LinkEntry& entry) { return filter_.selects(entry.interface.name); });
}

Result<> KernelRing::begin() {
  {
    const std::lock_guard lock(mutex_);
    set_promiscuous();
  }
  // An interface may have come between listing them and binding.
  TRY(refresh_interfaces());
  return {};
}

Result<bool> KernelRing::refresh_interfaces() {
  const std::lock_guard lock(mutex_);
  TRY_ASSIGN(const auto changes, table_.refresh());
  if (!changes.table && !changes.up_state) return false;
  set_promiscuous();
  filter_.improve(table_.entries());
  TRY(attach_if_changed());
  return changes.table;
}

std::vector<packet::Interface> KernelRing::interfaces() const {
  const std::lock_guard lock(mutex_);
  std::vector<packet::Interface> list;
  list.reserve(table_.entries().size());
  for (const auto& entry : table_.entries()) list.push_back(entry.interface);
  return list;
}

Result<> KernelRing::set_excluded(std::vector<ExcludedConnection> exclude) {
  const std::lock_guard lock(mutex_);
  TRY(filter_.set_excluded(exclude));
  return attach_if_changed();
}

/// What next() waits for. The socket counts as readable as long as the block that was closed last has not come back, and that
/// is with the writer: so it reports only that one was closed.
Result<Fd> make_waits(int socket, int wake, int table) {
  Fd waits(epoll_create1(EPOLL_CLOEXEC));
  if (!waits) return fail_errno(errno, "cannot make an epoll set");
  for (const int fd : {socket, wake, table}) {
    epoll_event event{};
    event.events = EPOLLIN | (fd == socket ? uint32_t{EPOLLET} : 0);
    event.data.fd = fd;
    if (epoll_ctl(waits.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return fail_errno(errno, "cannot wait for packets");
  }
  return waits;
}

Result<Fd> open_packet_socket() {
  // Protocol 0 takes no packets in until bind() names one.
  Fd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd && (errno == EPERM || errno == EACCES))
    return fail(ErrorKind::failed,
                "cannot open a packet socket: permission denied; run as root or with CAP_NET_RAW");
  if (!fd) return fail_errno(errno, "cannot open a packet socket");
  return fd;
}

}  // namespace

uint32_t ring_block_bytes(uint64_t ring_bytes) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(std::bit_floor(ring_bytes / 16), kMinBlockBytes, kMaxBlockBytes));
}

Result<std::unique_ptr<Ring>> Ring::open(const RingOptions& options) {
  if (options.ring_bytes < kMinRingBytes || options.ring_bytes > kMaxRingBytes)
    return fail(ErrorKind::invalid, "a packet ring of {} is not possible: choose {} to {}",
                format_size(options.ring_bytes), format_size(kMinRingBytes),
                format_size(kMaxRingBytes));
  const uint32_t block_bytes = ring_block_bytes(options.ring_bytes);
  const auto blocks = static_cast<uint32_t>(options.ring_bytes / block_bytes);
  if (options.block_reserve > UINT16_MAX)
    return fail(ErrorKind::invalid, "{} bytes cannot be reserved in a block", options.block_reserve);

  TRY_ASSIGN(auto table, InterfaceTable::open());
  TRY_ASSIGN(auto filter, RingFilter::create(options, table.entries()));
  TRY_ASSIGN(Program program, filter.program(table.entries()));

  TRY_ASSIGN(Fd socket, open_packet_socket());
  const int version = TPACKET_V3;
  TRY(set_option(socket.get(), PACKET_VERSION, version, "the kernel has no TPACKET_V3"));
  tpacket_req3 request{};
  request.tp_block_size = block_bytes;
  request.tp_block_nr = blocks;
  request.tp_frame_size = kFrameBytes;
  request.tp_frame_nr = static_cast<uint32_t>(uint64_t{block_bytes} * blocks / kFrameBytes);
  request.tp_retire_blk_tov = kRetireMs;
  request.tp_sizeof_priv = options.block_reserve;
  TRY(set_option(socket.get(), PACKET_RX_RING, request,
                 fmt::format("the kernel does not give a packet ring of {}",
                             format_size(uint64_t{block_bytes} * blocks))));
  TRY_ASSIGN(auto mapping, Mapping::map(socket.get(), size_t{block_bytes} * blocks));
  TRY(attach(socket.get(), program));

  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno(errno, "cannot make an eventfd");

  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  if (bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "cannot bind the packet socket");
  TRY_ASSIGN(Fd waits, make_waits(socket.get(), wake.get(), table.fd()));
  auto ring = std::make_unique<KernelRing>(std::move(socket), std::move(wake), std::move(waits),
                                           std::move(mapping), block_bytes, std::move(table),
                                           std::move(filter), std::move(program),
                                           options.promiscuous);
  TRY(ring->begin());
  return std::unique_ptr<Ring>(std::move(ring));
}

}  // namespace lookback::capture
