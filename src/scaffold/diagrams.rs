//! The diagrams of a new course.

use super::texts::DiagramTexts;
use crate::course::xml::escaped;

/// Returns a PlantUML activity diagram: waiting until the coffee is cool enough.
pub(super) fn plan(texts: &DiagramTexts) -> String {
    let [pour, wait, lose, question, yes, no, drink] = texts.steps;
    format!(
        "\
@startuml
skinparam backgroundColor white
start
:{pour};
repeat
  :{wait};
  :{lose};
repeat while ({question}) is ({yes}) not ({no})
:{drink};
stop
@enduml
"
    )
}

/// Returns a draw.io diagram: heat goes from the coffee to the room. It is not compressed, so that its changes can be
/// read.
pub(super) fn heat(texts: &DiagramTexts) -> String {
    let value = |text: &str| escaped(text).replace('\n', "&lt;br&gt;");
    let (coffee, room, heat) = (value(texts.coffee), value(texts.room), value(texts.heat));
    format!(
        "\
<mxfile>
  <diagram id=\"heat\" name=\"heat\">
    <mxGraphModel grid=\"1\" gridSize=\"10\" page=\"0\">
      <root>
        <mxCell id=\"0\"/>
        <mxCell id=\"1\" parent=\"0\"/>
        <mxCell id=\"coffee\" value=\"{coffee}\" style=\"shape=cylinder3;whiteSpace=wrap;html=1;size=12;fillColor=#f8cecc;strokeColor=#b85450;fontSize=16;\" vertex=\"1\" parent=\"1\">
          <mxGeometry x=\"40\" y=\"50\" width=\"110\" height=\"110\" as=\"geometry\"/>
        </mxCell>
        <mxCell id=\"room\" value=\"{room}\" style=\"ellipse;shape=cloud;whiteSpace=wrap;html=1;fillColor=#dae8fc;strokeColor=#6c8ebf;fontSize=16;\" vertex=\"1\" parent=\"1\">
          <mxGeometry x=\"310\" y=\"30\" width=\"200\" height=\"150\" as=\"geometry\"/>
        </mxCell>
        <mxCell id=\"heat\" value=\"{heat}\" style=\"shape=flexArrow;html=1;fillColor=#ffe6cc;strokeColor=#d79b00;fontSize=16;labelBackgroundColor=none;width=26;endSize=8;endWidth=22;\" edge=\"1\" parent=\"1\" source=\"coffee\" target=\"room\">
          <mxGeometry relative=\"1\" as=\"geometry\"/>
        </mxCell>
      </root>
    </mxGraphModel>
  </diagram>
</mxfile>
"
    )
}
