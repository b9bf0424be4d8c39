//! Java. Without a kernel there are no pictures, so the plot is one of characters.

use crate::scaffold::texts::Texts;

use super::Code;

pub(super) fn code(texts: &Texts) -> Code {
    let (cooling, task, topic) = (&texts.cooling, &texts.task, &texts.topic);
    Code {
        given: "\
double hot = 90;
double room = 20;"
            .to_owned(),
        series: format!(
            "\
import java.util.ArrayList;
import java.util.List;

List<Double> temperatures = new ArrayList<>(List.of(hot));
while (temperatures.size() <= 40) {{
    double last = temperatures.get(temperatures.size() - 1);
    temperatures.add(last - (last - room) / 10);
}}

System.out.printf(\"{} %.1f °C%n\", temperatures.get(10));",
            cooling.after_ten
        ),
        plot: "\
for (int minute = 0; minute <= 40; minute += 5) {
    int length = (int) (temperatures.get(minute) / 2);
    System.out.println(minute + \"\\t\" + \"*\".repeat(length));
}"
        .to_owned(),
        start: format!(
            "\
int minutesUntil(double limit) {{
    double temperature = hot;
    int minutes = 0;
    // {}
    return minutes;
}}",
            task.begin
        ),
        completed: "\
int minutesUntil(double limit) {
    double temperature = hot;
    int minutes = 0;
    while (temperature > limit) {
        temperature -= (temperature - room) / 10;
        minutes += 1;
    }
    return minutes;
}"
        .to_owned(),
        call: "minutesUntil(60)".to_owned(),
        hello: format!("System.out.println(\"{}\");", topic.hello),
        own_start: format!("// {}", topic.begin),
        own_completed: format!("// {}", topic.solution),
    }
}
