#include "lookback/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "lookback/base/confine.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using lookback::test::TemporaryDirectory;

namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// A umask that forbids nothing: what is seen then is what the product asks for.
class NoMask {
 public:
  NoMask() : before_(::umask(0)) {}
  ~NoMask() { ::umask(before_); }
  NoMask(const NoMask&) = delete;
  NoMask& operator=(const NoMask&) = delete;

 private:
  mode_t before_;
};

}  // namespace

TEST_CASE("files and folders are their owner's alone") {
  const TemporaryDirectory directory;
  const NoMask mask;
  REQUIRE(make_directories(directory / "a/b/c"));
  CHECK(mode_of(directory / "a") == 0700);
  CHECK(mode_of(directory / "a/b") == 0700);
  CHECK(mode_of(directory / "a/b/c") == 0700);
  REQUIRE(write_file_atomically(directory / "a/file", "x"));
  CHECK(mode_of(directory / "a/file") == 0600);
  REQUIRE(open_file(directory / "a/opened", O_WRONLY | O_CREAT | O_EXCL));
  CHECK(mode_of(directory / "a/opened") == 0600);
  REQUIRE(FileLock::acquire(directory / "a/lock"));
  CHECK(mode_of(directory / "a/lock") == 0600);
  REQUIRE(write_file_atomically(directory / "a/public", "x", 0644));
  CHECK(mode_of(directory / "a/public") == 0644);
  // What is there already is the administrator's.
  REQUIRE(::chmod((directory / "a").c_str(), 0755) == 0);
  REQUIRE(make_directories(directory / "a"));
  CHECK(mode_of(directory / "a") == 0755);
}

TEST_CASE("what this user may do without overriding permissions") {
  const TemporaryDirectory directory;
  REQUIRE(write_file_atomically(directory / "mine", "x"));
  CHECK(may_read_plainly(directory / "mine"));
  CHECK(may_write_plainly(directory / "mine"));
  CHECK(may_write_plainly(directory / "made/later/on"));
  REQUIRE(::chmod((directory / "mine").c_str(), 0400) == 0);
  CHECK(may_read_plainly(directory / "mine"));
  CHECK_FALSE(may_write_plainly(directory / "mine"));
  REQUIRE(make_directories(directory / "closed/inner"));
  REQUIRE(write_file_atomically(directory / "closed/inner/file", "x"));
  REQUIRE(::chmod((directory / "closed").c_str(), 0600) == 0);
  CHECK_FALSE(may_read_plainly(directory / "closed/inner/file"));
  REQUIRE(::chmod((directory / "closed").c_str(), 0700) == 0);
}
