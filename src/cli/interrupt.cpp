#include "cli/interrupt.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "lookback/base/log.hpp"

namespace lookback::cli {

namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

std::atomic<bool> interrupted{false};
std::atomic<int> signal_number{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  signal_number.store(number);
  interrupted.store(true);
}

}  // namespace

Interrupt::Interrupt() {
  interrupted.store(false);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int one : kSignals) {
    // A signal that the parent switched off stays off (nohup).
    struct sigaction before {};
    if (::sigaction(one, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    ::sigaction(one, &action, nullptr);
  }
}

Interrupt::~Interrupt() {
  for (const int one : kSignals) {
    struct sigaction before {};
    if (::sigaction(one, nullptr, &before) == 0 && before.sa_handler == on_signal)
      ::signal(one, SIG_DFL);
  }
}

const std::atomic<bool>& Interrupt::flag() const {
  return interrupted;
}
bool Interrupt::requested() const {
  return interrupted.load();
}
int Interrupt::exit_status() const {
  return 128 + signal_number.load();
}

bool Interrupt::sleep_ms(int milliseconds) const {
  if (requested()) return false;
  (void)::poll(nullptr, 0, milliseconds);
  return !requested();
}

Result<std::unique_ptr<StopSignals>> StopSignals::create() {
  auto self = std::unique_ptr<StopSignals>(new StopSignals);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0)
    return fail_errno(errno, "cannot block signals");
  self->signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!self->signals_) return fail_errno(errno, "signalfd");
  self->ended_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!self->ended_) return fail_errno(errno, "eventfd");
  return self;
}

void StopSignals::start(std::function<void()> stop) {
  LOOKBACK_CHECK(!thread_.joinable());
  thread_ = std::thread([this, stop = std::move(stop)] {
    for (int seen = 0;;) {
      struct pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0) {
        if (errno == EINTR) continue;
        return;
      }
      if (fds[1].revents != 0) return;
      struct signalfd_siginfo info {};
      if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
      if (++seen == 1) {
        log_info("{}: stopping", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
        stop();
      } else {
        log_warning("a second signal: ending at once");
        ::_exit(128 + static_cast<int>(info.ssi_signo));
      }
    }
  });
}

StopSignals::~StopSignals() {
  const uint64_t one = 1;
  if (ended_) (void)!::write(ended_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

}  // namespace lookback::cli
