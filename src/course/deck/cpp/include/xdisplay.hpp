// Stands in for the header of the C++ kernel: xcpp::display(value) prints the value.
#pragma once

#include <iostream>
#include <string>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>

namespace nl = nlohmann;
#endif

namespace xcpp {

template <typename T>
void display(const T& value) {
#if __has_include(<nlohmann/json.hpp>)
    if constexpr (requires { mime_bundle_repr(value); }) {
        const nl::json bundle = mime_bundle_repr(value);
        const auto text = bundle.find("text/plain");
        if (text != bundle.end() && text->is_string()) {
            std::cout << text->template get<std::string>() << '\n';
        } else {
            std::cout << bundle.dump() << '\n';
        }
        return;
    } else
#endif
    if constexpr (requires { std::cout << value; }) {
        std::cout << value << '\n';
    } else {
        std::cout << "<unprintable value>\n";
    }
}

}  // namespace xcpp
