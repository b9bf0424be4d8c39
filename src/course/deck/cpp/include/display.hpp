// Shows the value of an expression, as a notebook does: CLM_DISPLAY(x + 1); prints `x + 1 = 3`.
#pragma once

#include <iostream>
#include <optional>
#include <ranges>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace clm {

// Whether a value has an output operator of its own.
template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

template <typename T>
concept Text = std::is_convertible_v<const T&, std::string_view>;

template <typename T>
concept Optional = requires(const T& value) {
    value.has_value();
    *value;
    requires std::is_constructible_v<T, std::nullopt_t>;
};

template <typename T>
concept Tuple = requires { std::tuple_size<T>::value; };

// How much of a sequence is shown.
inline constexpr int shown_elements = 100;

template <typename T>
void print(std::ostream& out, const T& value, bool inside = false);

template <typename T>
void print_elements(std::ostream& out, const T& sequence) {
    int count = 0;
    out << '{';
    for (const auto& element : sequence) {
        if (count < shown_elements) {
            out << (count == 0 ? "" : ", ");
            if constexpr (requires { typename T::mapped_type; }) {
                print(out, element.first, true);
                out << ": ";
                print(out, element.second, true);
            } else {
                print(out, element, true);
            }
        }
        ++count;
    }
    if (count > shown_elements) {
        out << ", ... (" << count - shown_elements << " more)";
    }
    out << '}';
}

template <typename T, std::size_t... Index>
void print_parts(std::ostream& out, const T& parts, std::index_sequence<Index...>) {
    out << '(';
    ((out << (Index == 0 ? "" : ", "), print(out, std::get<Index>(parts), true)), ...);
    out << ')';
}

template <typename T>
void print(std::ostream& out, const T& value, bool inside) {
    using Plain = std::remove_cvref_t<T>;
    if constexpr (std::is_same_v<Plain, char>) {
        const char* quote = inside ? "'" : "";
        out << quote << value << quote;
    } else if constexpr (Text<Plain> && Printable<Plain>) {
        const char* quote = inside ? "\"" : "";
        out << quote << value << quote;
    } else if constexpr (std::is_array_v<Plain>) {
        print_elements(out, value);
    } else if constexpr (Printable<Plain>) {
        out << value;
    } else if constexpr (std::is_enum_v<Plain>) {
        out << +static_cast<std::underlying_type_t<Plain>>(value);
    } else if constexpr (Optional<Plain>) {
        if (value.has_value()) {
            print(out, *value, inside);
        } else {
            out << "nullopt";
        }
    } else if constexpr (std::ranges::range<const Plain>) {
        print_elements(out, value);
    } else if constexpr (Tuple<Plain>) {
        print_parts(out, value, std::make_index_sequence<std::tuple_size_v<Plain>>{});
    } else {
        out << "<unprintable value>";
    }
}

// Stands behind an expression in CLM_DISPLAY. An expression of type void has no value, and only this is left of it.
struct End {};

template <typename T>
struct Value {
    T&& reference;
};

template <typename T>
Value<T> operator,(T&& value, End) {
    return {std::forward<T>(value)};
}

template <typename T>
void display(std::string_view expression, Value<T> value) {
    const auto flags = std::cout.flags();
    std::cout << expression << " = " << std::boolalpha;
    print(std::cout, value.reference);
    std::cout << '\n';
    std::cout.flags(flags);
}

inline void display(std::string_view, End) {}

}  // namespace clm

#define CLM_DISPLAY(...) ::clm::display(#__VA_ARGS__, (__VA_ARGS__, ::clm::End{}))

// What decks write themselves.
#define SHOW(...) CLM_DISPLAY(__VA_ARGS__)
