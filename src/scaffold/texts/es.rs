//! Spanish.

use super::{CoolingTexts, CourseTexts, DiagramTexts, ReadmeTexts, TaskTexts, Texts, TopicTexts};

pub(super) const TEXTS: Texts = Texts {
    course: CourseTexts {
        section: "Primeros pasos",
        not_executed: "evaluate=\"no\": las páginas muestran el código sin resultados. Quítelo cuando haya un kernel para LANGUAGE.",
    },
    cooling: CoolingTexts {
        title: "Cómo se enfría el café",
        cup: "\
## Una taza de café

- El café recién hecho está a 90 °C; la habitación, a 20 °C.
- Cada minuto, el café pierde una décima parte de la diferencia.
- Cuanto menor es la diferencia, menos pierde.",
        cup_notes: "\
Pregunte antes de mostrar la curva: ¿pierde el café los mismos grados en cada minuto?
Apunte las respuestas en la pizarra.",
        heat: "## Adónde va el calor",
        heat_alt: "El calor pasa del café a la habitación",
        minutes: "\
## Minuto a minuto

Una lista guarda la temperatura después de cada minuto.",
        after_ten: "Después de 10 minutos:",
        curve: "## La curva",
        curve_notes: "\
La curva se acerca cada vez más a la temperatura de la habitación y nunca la alcanza.
Vuelva a las respuestas de la pizarra.",
        minute_axis: "minutos",
        room: "habitación",
    },
    task: TaskTexts {
        title: "Cuándo se puede beber",
        plan: "\
## Esperar y volver a mirar

Nadie cuenta los minutos de antemano: esperamos hasta que el café esté bastante frío.",
        plan_alt: "Esperar un minuto y repetirlo mientras el café esté demasiado caliente",
        task: "\
## Ahora usted

Por encima de 60 °C, el café está demasiado caliente. Complete `FUNCTION`:
el resultado es el número de minutos hasta que el café se enfría a un límite.",
        begin: "Dejar pasar un minuto mientras el café esté demasiado caliente.",
        answer: "Se puede beber después de 6 minutos.",
        notes: "\
Bastan diez minutos. Una pregunta para quienes terminen pronto: ¿cuánto tarda al aire libre, a 0 °C?
(4 minutos)",
    },
    diagrams: DiagramTexts {
        coffee: "café\n90 °C",
        room: "habitación\n20 °C",
        heat: "calor",
        steps: [
            "servir el café",
            "esperar un minuto",
            "se pierde una décima parte de la diferencia",
            "¿demasiado caliente?",
            "sí",
            "no",
            "beber",
        ],
    },
    topic: TopicTexts {
        about: "- De qué trata este tema",
        notes: "Una nota para usted: solo la muestran las páginas del formador.",
        hello: "¡Hola!",
        task: "\
## Ahora usted

Lo que hay que hacer",
        begin: "Su código",
        solution: "La solución",
    },
    readme: ReadmeTexts {
        intro: "Un curso que construye clm: cuadernos, scripts y páginas para los participantes y para el formador.",
        commands: [
            (
                "clm watch --serve",
                "muestra el curso en el navegador y construye lo que usted guarda",
            ),
            ("clm build", "construye lo que no está al día"),
            ("clm new topic ID", "añade un tema"),
        ],
        files: "Qué hay en cada sitio",
        places: [
            (
                "`course.xml`",
                "el título, el autor, las secciones con sus temas y lo que se construye",
            ),
            (
                "`slides/MODULO/TEMA/slides_*`",
                "las diapositivas; los comentarios delante de las celdas dicen quién ve qué",
            ),
            ("`pu/`, `drawio/` de un tema", "sus diagramas"),
            ("`img/`, `data/` de un tema", "sus imágenes y datos"),
            ("`output/students`", "lo que reciben los participantes"),
            ("`output/trainer`", "lo mismo con las notas del formador"),
        ],
        not_executed: "Las páginas muestran el código sin resultados, porque clm no trae ningún kernel para LANGUAGE. Cuando haya instalado uno, quite `evaluate=\"no\"` de `course.xml`.",
    },
};
