//! TypeScript, for Deno.

use crate::scaffold::texts::Texts;

use super::Code;

pub(super) fn code(texts: &Texts) -> Code {
    let (cooling, task, topic) = (&texts.cooling, &texts.task, &texts.topic);
    Code {
        given: "\
const hot = 90;
const room = 20;"
            .to_owned(),
        series: format!(
            "\
const temperatures = [hot];
while (temperatures.length <= 40) {{
    const last = temperatures[temperatures.length - 1];
    temperatures.push(last - (last - room) / 10);
}}

console.log(`{} ${{temperatures[10].toFixed(1)}} °C`);",
            cooling.after_ten
        ),
        plot: format!(
            "\
const points = temperatures.map((value, minute) => `${{15 * minute}},${{200 - 2 * value}}`);

Deno.jupyter.svg`<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-60 0 680 240\"
    width=\"680\" font-family=\"sans-serif\">
    <path d=\"M0 10V200H610\" fill=\"none\" stroke=\"black\"/>
    <path d=\"M0 160H610\" stroke=\"gray\" stroke-dasharray=\"6\"/>
    <polyline points=\"${{points.join(\" \")}}\" fill=\"none\" stroke=\"steelblue\" stroke-width=\"3\"/>
    <text x=\"-10\" y=\"25\" text-anchor=\"end\">90 °C</text>
    <text x=\"-10\" y=\"165\" text-anchor=\"end\">20 °C</text>
    <text x=\"610\" y=\"180\" text-anchor=\"end\">{}</text>
    <text x=\"610\" y=\"225\" text-anchor=\"end\">40 {}</text>
</svg>`",
            cooling.room, cooling.minute_axis
        ),
        start: format!(
            "\
function minutesUntil(limit: number): number {{
    let temperature = hot;
    let minutes = 0;
    // {}
    return minutes;
}}",
            task.begin
        ),
        completed: "\
function minutesUntil(limit: number): number {
    let temperature = hot;
    let minutes = 0;
    while (temperature > limit) {
        temperature -= (temperature - room) / 10;
        minutes += 1;
    }
    return minutes;
}"
        .to_owned(),
        call: "minutesUntil(60)".to_owned(),
        hello: format!("console.log(\"{}\");", topic.hello),
        own_start: format!("// {}", topic.begin),
        own_completed: format!("// {}", topic.solution),
    }
}
