#include "cli/output_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/exit_status.hpp"
#include "lookback/base/file.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::cli;
using lookback::test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

size_t entries(const TemporaryDirectory& directory) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file appears by commit, whole") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "out";
  auto file = OutputFile::open(path.string());
  REQUIRE(file);
  REQUIRE(file->write(as_bytes("hello ")));
  REQUIRE(file->write(as_bytes("world")));
  REQUIRE_FALSE(fs::exists(path));
  REQUIRE(read_file(file->content_path()).value() == "hello world");
  REQUIRE(file->commit(true));
  REQUIRE(file->bytes() == 11);
  REQUIRE(read_file(path).value() == "hello world");
  REQUIRE(entries(directory) == 1);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  REQUIRE((status.st_mode & 07777) == 0600);  // it holds captured data
}

TEST_CASE("without commit an old file stays and nothing new is left") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "out";
  std::ofstream(path) << "old";
  {
    auto file = OutputFile::open(path.string());
    REQUIRE(file);
    REQUIRE(file->write(as_bytes("new")));
  }
  REQUIRE(read_file(path).value() == "old");
  REQUIRE(entries(directory) == 1);
  auto file = OutputFile::open(path.string());
  REQUIRE(file->write(as_bytes("new")));
  REQUIRE(file->commit(false));
  REQUIRE(read_file(path).value() == "new");
  REQUIRE(entries(directory) == 1);
}

TEST_CASE("links are followed, devices written to, folders refused") {
  const TemporaryDirectory directory;
  const fs::path target = directory / "target", link = directory / "link";
  std::ofstream(target) << "old";
  fs::create_symlink(target, link);
  {
    auto file = OutputFile::open(link.string());
    REQUIRE(file->write(as_bytes("new")));
    REQUIRE(file->commit(false));
  }
  REQUIRE(fs::is_symlink(link));
  REQUIRE(read_file(target).value() == "new");

  auto device = OutputFile::open("/dev/null");
  REQUIRE(device);
  REQUIRE_FALSE(device->is_file());
  REQUIRE(device->write(as_bytes("x")));
  REQUIRE(device->commit(true));

  REQUIRE(OutputFile::open(fs::temp_directory_path().string()).error().kind == ErrorKind::invalid);
  REQUIRE(OutputFile::open("").error().kind == ErrorKind::invalid);
  REQUIRE(OutputFile::open((directory / "absent/out").string()).error().kind ==
          ErrorKind::not_found);
}

TEST_CASE("an existing file keeps mode, owner, names and attributes") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "out";
  const auto status_of = [](const fs::path& of) {
    struct stat status {};
    REQUIRE(::stat(of.c_str(), &status) == 0);
    return status;
  };
  const auto write_new = [&](const fs::path& to, const std::string& text) {
    auto file = OutputFile::open(to.string());
    REQUIRE(file);
    REQUIRE(file->write(as_bytes(text)));
    REQUIRE(file->commit(true));
    REQUIRE(read_file(to).value() == text);
  };
  std::ofstream(path) << "something that is longer than what comes";
  for (const mode_t mode : {0600, 0644, 0640, 0200, 0666}) {
    CAPTURE(mode);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    if (mode == 0200 && ::geteuid() != 0) continue;  // the test could not read it
    write_new(path, "new");
    CHECK((status_of(path).st_mode & 07777) == mode);
  }
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  if (::geteuid() == 0) {
    REQUIRE(::chown(path.c_str(), 12345, 23456) == 0);
    write_new(path, "of somebody else");
    CHECK(status_of(path).st_uid == 12345);
    CHECK(status_of(path).st_gid == 23456);
    CHECK((status_of(path).st_mode & 07777) == 0640);
  }
  const fs::path second = directory / "second";
  fs::create_hard_link(path, second);
  write_new(path, "by both names");
  CHECK(read_file(second).value() == "by both names");
  CHECK(status_of(path).st_ino == status_of(second).st_ino);
  fs::remove(second);
  if (::setxattr(path.c_str(), "user.note", "kept", 4, 0) == 0) {
    write_new(path, "with a note");
    char note[8];
    CHECK(::getxattr(path.c_str(), "user.note", note, sizeof note) == 4);
  }
  CHECK(entries(directory) == 1);
}

TEST_CASE("a link to nothing is followed, and one to an open file too") {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "inner");
  fs::create_symlink("inner/target", directory / "one");
  fs::create_symlink("one", directory / "two");
  {
    auto file = OutputFile::open((directory / "two").string());
    REQUIRE(file);
    REQUIRE(file->write(as_bytes("x")));
    REQUIRE(file->commit(false));
  }
  CHECK(fs::is_symlink(directory / "one"));
  CHECK(fs::is_symlink(directory / "two"));
  CHECK(read_file(directory / "inner/target").value() == "x");

  // As /dev/stdout is, when a shell has sent it into a file.
  const Fd open(::open((directory / "open").c_str(), O_RDWR | O_CREAT, 0644));
  REQUIRE(open);
  REQUIRE(::write(open.get(), "old old old", 11) == 11);
  {
    auto file = OutputFile::open("/proc/self/fd/" + std::to_string(open.get()));
    REQUIRE(file);
    CHECK_FALSE(file->is_file());
    REQUIRE(file->write(as_bytes("new")));
    REQUIRE(file->commit(false));
  }
  struct stat by_name {}, by_fd {};
  REQUIRE(::stat((directory / "open").c_str(), &by_name) == 0);
  REQUIRE(::fstat(open.get(), &by_fd) == 0);
  CHECK(by_name.st_ino == by_fd.st_ino);
  CHECK(read_file(directory / "open").value() == "new");
}

TEST_CASE("a file that this user may not write is refused before the work") {
  if (::geteuid() == 0) return;  // root may write everything
  const TemporaryDirectory directory;
  const fs::path path = directory / "out";
  std::ofstream(path) << "old";
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  CHECK_FALSE(OutputFile::open(path.string()));
  CHECK(read_file(path).value() == "old");
}

TEST_CASE("a full disk and a reader that went away are told apart") {
  auto full = OutputFile::open("/dev/full");
  REQUIRE(full);
  REQUIRE(full->write(as_bytes("x")).error().kind == ErrorKind::no_space);
  REQUIRE_FALSE(full->reader_gone());

  const TemporaryDirectory directory;
  const fs::path fifo = directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  ::signal(SIGPIPE, SIG_IGN);
  Fd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK));
  REQUIRE(reader);
  auto pipe = OutputFile::open(fifo.string());
  REQUIRE(pipe);
  REQUIRE(pipe->write(as_bytes("x")));
  reader.reset();
  REQUIRE(pipe->write(as_bytes("x")).error().kind == ErrorKind::cancelled);
  REQUIRE(pipe->reader_gone());
}

TEST_CASE("every kind of error has its exit status") {
  const auto status = [](ErrorKind kind) { return exit_status(Error{kind, ""}); };
  REQUIRE(status(ErrorKind::failed) == 1);
  REQUIRE(status(ErrorKind::conflict) == 1);
  REQUIRE(status(ErrorKind::corrupt) == 1);
  REQUIRE(status(ErrorKind::no_space) == 1);
  REQUIRE(status(ErrorKind::unauthorized) == 1);
  REQUIRE(status(ErrorKind::cancelled) == 1);
  REQUIRE(status(ErrorKind::invalid) == 2);
  REQUIRE(status(ErrorKind::not_found) == 4);
  REQUIRE(status(ErrorKind::unreachable) == 5);
}
