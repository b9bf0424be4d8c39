# j2 from 'macros.j2' import header
# {{ header("Titel", "Title") }}
# {% set words = ["a", "b"] %}
# {% for word in words %}
# - {{ loop.index }} {{ word | upper | replace("A", "x") }} {{ "%s" % word }}
# {% endfor %}
# {% macro twice(text, times=2) -%}{{ text * times }}{%- endmacro %}
# {{ twice("ab") ~ (1 + 2 ** 3) }} {% if words|length > 1 %}yes{% else %}no{% endif %}
