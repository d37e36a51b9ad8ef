#include "cli/output_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
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
  const mode_t mask = ::umask(0);
  ::umask(mask);
  REQUIRE((status.st_mode & 0777) == (0666 & ~mask));
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
