#pragma once
// NAME.tar.zst: a tar stream (POSIX ustar, pax where needed) in independent zstd frames — headers and padding in small frames of
// our own, contents in the frames they came in — closed by a seek table (zstd contrib/seekable_format). See lookback-archive(5).

#include "lookback/archive/frame.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/archive/reader.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/archive/writer.hpp"
