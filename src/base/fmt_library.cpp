// {fmt}'s compiled part, built here because Debian has no static library of it: used header-only, it costs every file that
// formats a line more compile time than all of our own code in it. The instantiations are what the headers leave undefined.
#include <fmt/format-inl.h>

namespace fmt::inline v9::detail {

template void buffer<char>::append(const char*, const char*);
template void vformat_to(buffer<char>&, string_view, basic_format_args<buffer_context<char>>, locale_ref);
template auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl<char>(locale_ref) -> char;
template auto dragonbox::to_decimal(float) noexcept -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal(double) noexcept -> dragonbox::decimal_fp<double>;

}  // namespace fmt::inline v9::detail
