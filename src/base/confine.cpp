#include "lookback/base/confine.hpp"

#include <dirent.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <vector>

#include "lookback/base/log.hpp"

namespace lookback {

namespace {

/// What no part of the product calls: starting programs, other identities, the machine's set-up, other processes'
/// memory. A list of what is refused and not of what is allowed: the libraries below (TLS, resolver, eBPF, io_uring)
/// choose their system calls by the kernel that they find. fsopen and fsmount are allowed: the observer opens the cgroup2
/// hierarchy with them where it is not mounted. Without move_mount, what they make is attached nowhere.
constexpr long kRefused[] = {
    SYS_execve, SYS_execveat,
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    SYS_ptrace, SYS_personality,  // the sanitizers' own
#endif
    SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid,
    SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_chroot, SYS_pivot_root, SYS_mount,
    SYS_umount2, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_sethostname, SYS_setdomainname, SYS_init_module,
    SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_iopl, SYS_ioperm, SYS_modify_ldt,
    SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_acct, SYS_quotactl, SYS_syslog,
    SYS_vhangup, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_userfaultfd, SYS_open_by_handle_at, SYS_mknod,
    SYS_mknodat, SYS_lookup_dcookie, SYS_move_pages, SYS_migrate_pages, SYS_open_tree, SYS_move_mount, SYS_fspick,
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
};

Result<> set_capabilities(uint64_t kept) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return fail_errno(errno, "capget");
  // The bounding set first: changing it is a capability itself. Without that one it stays as it is.
  if ((data[0].effective >> CAP_SETPCAP & 1) != 0) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
      if ((kept >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability) != 0)
        return fail_errno(errno, "PR_CAPBSET_DROP");
    }
  }
  for (size_t i = 0; i < std::size(data); ++i) {
    const auto wanted = static_cast<uint32_t>(kept >> (32 * i));
    data[i].effective &= wanted;
    data[i].permitted &= wanted;
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) != 0) return fail_errno(errno, "capset");
  return {};
}

/// Classic BPF over struct seccomp_data.
std::vector<sock_filter> refusing_program() {
  const auto load = [](size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  const sock_filter refuse = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  constexpr uint32_t kX32 = 0x40000000;  // numbers of the x32 interface
  std::vector<sock_filter> program{
      load(offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      refuse,
      load(offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1),
      refuse,
  };
  for (const long number : kRefused) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program.push_back(refuse);
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return program;
}

Result<size_t> thread_count() {
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return fail_errno(errno, "/proc/self/task");
  size_t count = 0;
  while (const dirent* entry = readdir(tasks))
    if (entry->d_name[0] != '.') ++count;
  closedir(tasks);
  return count;
}

/// Every folder above may be searched by its owner, this user, or by everybody.
bool reachable(const std::filesystem::path& path) {
  for (std::filesystem::path at = path.parent_path(); !at.empty(); at = at.parent_path()) {
    struct stat status {};
    if (::stat(at.c_str(), &status) == 0) {
      const mode_t needed = status.st_uid == ::geteuid() ? S_IXUSR : S_IXOTH;
      if ((status.st_mode & needed) == 0) return false;
    }
    if (at == at.parent_path()) break;
  }
  return true;
}

bool may_plainly(const std::filesystem::path& path, mode_t owner_needs, mode_t others_need) {
  std::error_code ec;
  const auto whole = std::filesystem::weakly_canonical(path, ec);
  if (ec || !reachable(whole)) return false;
  for (std::filesystem::path at = whole; !at.empty(); at = at.parent_path()) {
    struct stat status {};
    if (::stat(at.c_str(), &status) == 0) {
      const mode_t needed = status.st_uid == ::geteuid() ? owner_needs : others_need;
      return (status.st_mode & needed) == needed;
    }
    if (at == at.parent_path()) break;
  }
  return false;
}

}  // namespace

bool may_write_plainly(const std::filesystem::path& path) { return may_plainly(path, S_IWUSR, S_IWOTH); }
bool may_read_plainly(const std::filesystem::path& path) { return may_plainly(path, S_IRUSR, S_IROTH); }

Result<> confine_process(std::span<const int> kept) {
  TRY_ASSIGN(const size_t threads, thread_count());
  if (threads != 1) return fail(ErrorKind::failed, "privileges cannot be given up: there are {} threads", threads);
  uint64_t mask = 0;
  for (const int capability : kept) mask |= uint64_t{1} << capability;
  if (auto set = set_capabilities(mask); !set)
    return tl::make_unexpected(set.error().in("capabilities cannot be given up"));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "PR_SET_NO_NEW_PRIVS");
  std::vector<sock_filter> program = refusing_program();
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
    log_warning("{}", errno_error(errno, "system calls are not restricted").message);
  return {};
}

}  // namespace lookback
