// What the viewer reads while it loads. Where it looks for its parts: all relative, so that nothing leads to the network.
var mxLoadStylesheets = false, urlParams = {};
var mxBasePath = 'mxgraph', mxImageBasePath = 'mxgraph/images', STENCIL_PATH = 'stencils', SHAPES_PATH = 'shapes';
var IMAGE_PATH = 'images', GRAPH_IMAGE_PATH = 'img', STYLE_PATH = 'styles', DRAW_MATH_URL = 'math', PROXY_URL = 'proxy';
window.onDrawioViewerLoad = function () {};

// A dialog would wait for a person until the time is up.
window.alert = window.confirm = window.prompt = function () {};
