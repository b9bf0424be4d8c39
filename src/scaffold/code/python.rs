//! Python.

use crate::scaffold::texts::Texts;

use super::Code;

pub(super) fn code(texts: &Texts) -> Code {
    let (cooling, task, topic) = (&texts.cooling, &texts.task, &texts.topic);
    Code {
        given: "\
hot = 90
room = 20"
            .to_owned(),
        series: format!(
            "\
temperatures = [hot]
for minute in range(40):
    last = temperatures[-1]
    temperatures.append(last - (last - room) / 10)

print(f\"{} {{temperatures[10]:.1f}} °C\")",
            cooling.after_ten
        ),
        plot: format!(
            "\
import matplotlib.pyplot as plt

plt.figure(figsize=(7, 3.5))
plt.plot(temperatures)
plt.axhline(room, color=\"gray\", linestyle=\"--\", label=\"{}\")
plt.xlabel(\"{}\")
plt.ylabel(\"°C\")
plt.legend()
plt.show()",
            cooling.room, cooling.minute_axis
        ),
        start: format!(
            "\
def minutes_until(limit):
    temperature = hot
    minutes = 0
    # {}
    return minutes",
            task.begin
        ),
        completed: "\
def minutes_until(limit):
    temperature = hot
    minutes = 0
    while temperature > limit:
        temperature -= (temperature - room) / 10
        minutes += 1
    return minutes"
            .to_owned(),
        call: "minutes_until(60)".to_owned(),
        hello: format!("print(\"{}\")", topic.hello),
        own_start: format!("# {}", topic.begin),
        own_completed: format!("# {}", topic.solution),
    }
}
