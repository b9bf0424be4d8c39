//! C++. Without a kernel there are no pictures, so the plot is one of characters.

use crate::scaffold::texts::Texts;

use super::Code;

pub(super) fn code(texts: &Texts) -> Code {
    let (cooling, task, topic) = (&texts.cooling, &texts.task, &texts.topic);
    Code {
        given: "\
#include <iostream>
#include <string>
#include <vector>

const double hot{90};
const double room{20};"
            .to_owned(),
        series: format!(
            "\
std::vector<double> temperatures{{hot}};
while (temperatures.size() <= 40) {{
    double last{{temperatures.back()}};
    temperatures.push_back(last - (last - room) / 10);
}}

std::cout << \"{} \" << temperatures[10] << \" °C\\n\";",
            cooling.after_ten
        ),
        plot: "\
for (int minute{0}; minute <= 40; minute += 5) {
    int length{static_cast<int>(temperatures[minute] / 2)};
    std::cout << minute << \"\\t\" << std::string(length, '*') << \"\\n\";
}"
        .to_owned(),
        start: format!(
            "\
int minutes_until(double limit) {{
    double temperature{{hot}};
    int minutes{{0}};
    // {}
    return minutes;
}}",
            task.begin
        ),
        completed: "\
int minutes_until(double limit) {
    double temperature{hot};
    int minutes{0};
    while (temperature > limit) {
        temperature -= (temperature - room) / 10;
        minutes += 1;
    }
    return minutes;
}"
        .to_owned(),
        call: "minutes_until(60)".to_owned(),
        hello: format!(
            "#include <iostream>\n\nstd::cout << \"{}\\n\";",
            topic.hello
        ),
        own_start: format!("// {}", topic.begin),
        own_completed: format!("// {}", topic.solution),
    }
}
