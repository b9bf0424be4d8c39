//! C#. Without a kernel there are no pictures, so the plot is one of characters.

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
var temperatures = new List<double> {{ hot }};
while (temperatures.Count <= 40)
{{
    double last = temperatures[^1];
    temperatures.Add(last - (last - room) / 10);
}}

Console.WriteLine($\"{} {{temperatures[10]:F1}} °C\");",
            cooling.after_ten
        ),
        plot: "\
for (int minute = 0; minute <= 40; minute += 5)
{
    int length = (int)(temperatures[minute] / 2);
    Console.WriteLine($\"{minute,2} {new string('*', length)}\");
}"
        .to_owned(),
        start: format!(
            "\
int MinutesUntil(double limit)
{{
    double temperature = hot;
    int minutes = 0;
    // {}
    return minutes;
}}",
            task.begin
        ),
        completed: "\
int MinutesUntil(double limit)
{
    double temperature = hot;
    int minutes = 0;
    while (temperature > limit)
    {
        temperature -= (temperature - room) / 10;
        minutes += 1;
    }
    return minutes;
}"
        .to_owned(),
        call: "MinutesUntil(60)".to_owned(),
        hello: format!("Console.WriteLine(\"{}\");", topic.hello),
        own_start: format!("// {}", topic.begin),
        own_completed: format!("// {}", topic.solution),
    }
}
