def render_html(run, costs):
    return ""
