//! French.

use super::{CoolingTexts, CourseTexts, DiagramTexts, ReadmeTexts, TaskTexts, Texts, TopicTexts};

pub(super) const TEXTS: Texts = Texts {
    course: CourseTexts {
        section: "Premiers pas",
        not_executed: "evaluate=\"no\" : les pages montrent le code sans résultats. À retirer dès qu'un noyau pour LANGUAGE est installé.",
    },
    cooling: CoolingTexts {
        title: "Comment le café refroidit",
        cup: "\
## Une tasse de café

- Le café sort de la cafetière à 90 °C ; la pièce est à 20 °C.
- Chaque minute, le café perd un dixième de l'écart.
- Plus l'écart est petit, moins il perd de chaleur.",
        cup_notes: "\
Avant de montrer la courbe, demandez : le café perd-il le même nombre de degrés à chaque minute ?
Notez les réponses au tableau.",
        heat: "## Où va la chaleur",
        heat_alt: "La chaleur passe du café à la pièce",
        minutes: "\
## Minute par minute

Une liste garde la température après chaque minute.",
        after_ten: "Au bout de 10 minutes :",
        curve: "## La courbe",
        curve_notes: "\
La courbe s'approche toujours plus de la température de la pièce, sans jamais l'atteindre.
Revenez aux réponses notées au tableau.",
        minute_axis: "minutes",
        room: "pièce",
    },
    task: TaskTexts {
        title: "Quand peut-on le boire",
        plan: "\
## Attendre, puis regarder à nouveau

Personne ne compte les minutes d'avance : on attend que le café soit assez froid.",
        plan_alt: "Attendre une minute, et recommencer tant que le café est trop chaud",
        task: "\
## À vous

Au-dessus de 60 °C, le café est trop chaud. Complétez `FUNCTION` :
le résultat est le nombre de minutes qu'il faut au café pour descendre à une limite.",
        begin: "Laisser passer une minute, tant que le café est trop chaud.",
        answer: "On peut le boire au bout de 6 minutes.",
        notes: "\
Dix minutes suffisent. Une question pour ceux qui ont fini tôt : combien de temps faut-il dehors, à 0 °C ?
(4 minutes)",
    },
    diagrams: DiagramTexts {
        coffee: "café\n90 °C",
        room: "pièce\n20 °C",
        heat: "chaleur",
        steps: [
            "verser le café",
            "attendre une minute",
            "un dixième de l'écart est perdu",
            "trop chaud ?",
            "oui",
            "non",
            "boire",
        ],
    },
    topic: TopicTexts {
        about: "- Ce dont il s'agit ici",
        notes: "Une note pour vous-même : seules les pages du formateur la montrent.",
        hello: "Bonjour !",
        task: "\
## À vous

Ce qu'il faut faire",
        begin: "Votre code",
        solution: "La solution",
    },
    readme: ReadmeTexts {
        intro: "Un cours construit par clm : notebooks, scripts et pages pour les participants et pour le formateur.",
        commands: [
            (
                "clm watch --serve",
                "montre le cours dans le navigateur et construit ce que vous enregistrez",
            ),
            ("clm build", "construit ce qui n'est pas à jour"),
            ("clm new topic ID", "ajoute un thème"),
        ],
        files: "Ce qui se trouve où",
        places: [
            (
                "`course.xml`",
                "le titre, l'auteur, les sections avec leurs thèmes, et ce qui est construit",
            ),
            (
                "`slides/MODULE/THEME/slides_*`",
                "les diapositives ; les commentaires devant les cellules disent qui voit quoi",
            ),
            ("`pu/`, `drawio/` d'un thème", "ses diagrammes"),
            ("`img/`, `data/` d'un thème", "ses images et ses données"),
            ("`output/students`", "ce que reçoivent les participants"),
            ("`output/trainer`", "la même chose avec les notes du formateur"),
        ],
        not_executed: "Les pages montrent le code sans résultats, car clm n'apporte pas de noyau pour LANGUAGE. Quand vous en avez installé un, retirez `evaluate=\"no\"` de `course.xml`.",
    },
};
