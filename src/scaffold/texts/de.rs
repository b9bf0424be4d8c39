//! German.

use super::{CoolingTexts, CourseTexts, DiagramTexts, ReadmeTexts, TaskTexts, Texts, TopicTexts};

pub(super) const TEXTS: Texts = Texts {
    course: CourseTexts {
        section: "Erste Schritte",
        not_executed: "evaluate=\"no\": Seiten zeigen den Code ohne Ergebnisse. Entfernen, sobald ein Kernel für LANGUAGE installiert ist.",
    },
    cooling: CoolingTexts {
        title: "Wie Kaffee abkühlt",
        cup: "\
## Eine Tasse Kaffee

- Frischer Kaffee hat 90 °C, das Zimmer hat 20 °C.
- In jeder Minute verliert der Kaffee ein Zehntel des Unterschieds.
- Je kleiner der Unterschied, desto weniger verliert er.",
        cup_notes: "\
Fragen Sie, bevor Sie die Kurve zeigen: Verliert der Kaffee in jeder Minute gleich viele Grad?
Sammeln Sie die Schätzungen an der Tafel.",
        heat: "## Wohin die Wärme geht",
        heat_alt: "Wärme geht vom Kaffee in das Zimmer",
        minutes: "\
## Minute für Minute

Eine Liste merkt sich die Temperatur nach jeder Minute.",
        after_ten: "Nach 10 Minuten:",
        curve: "## Die Kurve",
        curve_notes: "\
Die Kurve nähert sich der Temperatur des Zimmers immer mehr und erreicht sie nie.
Kommen Sie auf die Schätzungen an der Tafel zurück.",
        minute_axis: "Minuten",
        room: "Zimmer",
    },
    task: TaskTexts {
        title: "Wann kann man ihn trinken?",
        plan: "\
## Warten und wieder nachsehen

Niemand zählt die Minuten im Voraus: Wir warten, bis der Kaffee kühl genug ist.",
        plan_alt: "Eine Minute warten, und das wiederholen, solange der Kaffee zu heiß ist",
        task: "\
## Jetzt Sie

Über 60 °C ist Kaffee zu heiß. Vervollständigen Sie `FUNCTION`:
Das Ergebnis ist die Anzahl der Minuten, bis der Kaffee auf eine Grenze abgekühlt ist.",
        begin: "Eine Minute vergehen lassen, solange der Kaffee zu heiß ist.",
        answer: "Nach 6 Minuten kann man ihn trinken.",
        notes: "\
Zehn Minuten reichen. Eine Frage für alle, die früh fertig sind: Wie lange dauert es draußen, bei 0 °C?
(4 Minuten)",
    },
    diagrams: DiagramTexts {
        coffee: "Kaffee\n90 °C",
        room: "Zimmer\n20 °C",
        heat: "Wärme",
        steps: [
            "Kaffee einschenken",
            "eine Minute warten",
            "ein Zehntel des Unterschieds geht verloren",
            "zu heiß?",
            "ja",
            "nein",
            "trinken",
        ],
    },
    topic: TopicTexts {
        about: "- Worum es hier geht",
        notes: "Eine Notiz für Sie selbst: Nur die Seiten für Trainer zeigen sie.",
        hello: "Hallo!",
        task: "\
## Jetzt Sie

Was zu tun ist",
        begin: "Ihr Code",
        solution: "Die Lösung",
    },
    readme: ReadmeTexts {
        intro: "Ein Kurs, den clm baut: Notebooks, Skripte und Seiten für Teilnehmer und für Trainer.",
        commands: [
            (
                "clm watch --serve",
                "zeigt den Kurs im Browser und baut, was Sie speichern",
            ),
            ("clm build", "baut, was nicht aktuell ist"),
            ("clm new topic ID", "legt ein Thema an"),
        ],
        files: "Was wo liegt",
        places: [
            (
                "`course.xml`",
                "der Titel, der Autor, die Abschnitte mit ihren Themen, und was gebaut wird",
            ),
            (
                "`slides/MODUL/THEMA/slides_*`",
                "die Foliensätze; die Kommentare vor ihren Zellen sagen, wer was sieht",
            ),
            ("`pu/`, `drawio/` eines Themas", "seine Diagramme"),
            ("`img/`, `data/` eines Themas", "seine Bilder und Daten"),
            ("`output/students`", "was Teilnehmer bekommen"),
            ("`output/trainer`", "dasselbe mit den Notizen für Trainer"),
        ],
        not_executed: "Die Seiten zeigen den Code ohne Ergebnisse, denn clm bringt keinen Kernel für LANGUAGE mit. Wenn Sie einen installiert haben, entfernen Sie `evaluate=\"no\"` aus `course.xml`.",
    },
};
