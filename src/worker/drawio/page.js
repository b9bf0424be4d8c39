// Renders the first page of a draw.io document with the viewer that is loaded in this window.
//
// clmRender({xml, format, scale, border, seed}) resolves to
//   {ok: true, width, height, svg?, missingShapes, failedImages, mathErrors,  for a PNG, the page shows it at (0, 0)
//    missingBackground?, missingFonts, missingCharacters}
//   {ok: false, stage, error}                                                 stage: xml extract decode shapes empty size render
//
// clmHasFont() is whether labels can be drawn at all.
//
// A picture must depend on its document alone: what one document leaves behind is undone before the next.
'use strict';

(function () {
  // Shape libraries must not run code of a document.
  mxStencilRegistry.allowEval = false;

  const SHAPE_LIBRARIES = ['js/stencils.min.js', 'js/shapes.min.js'];
  const BUILT_IN = new Set(Object.keys(mxCellRenderer.defaultShapes));
  // Other programs write these; draw.io knows none of them, and draws the rectangle that they mean.
  const MEANS_RECTANGLE = new Set(['rect', 'rectangle', 'square', 'box']);
  const PAGE_LINK = 'data:page/id,';
  const GENERIC_FONTS = new Set(['serif', 'sans-serif', 'monospace', 'cursive', 'fantasy', 'system-ui', 'inherit', 'initial', '']);
  // More different characters than this are in no label, and each is drawn once to be looked at.
  const MOST_CHARACTERS = 400;
  // Coordinates beyond this are a slip of a program, and no browser can paint there.
  const LARGEST_SIDE = 1e6;

  let graph = null;
  let editor = null;
  let libraries = null;
  let math = null;

  class Problem extends Error {
    constructor(stage, error) {
      super(String((error && error.message) || error));
      this.stage = stage;
    }
  }

  function attempt(stage, action) {
    try {
      return action();
    } catch (error) {
      throw error instanceof Problem ? error : new Problem(stage, error);
    }
  }

  function loadScript(url) {
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error('cannot load ' + url));
      document.head.appendChild(script);
    });
  }

  // Nine megabytes of shapes: only for documents that use them. What was loaded for other documents must not matter.
  async function shapesFor(model) {
    const styles = new XMLSerializer().serializeToString(model);
    const used = Array.from(styles.matchAll(/shape=([\w.]+)/g), (match) => match[1]);
    if (!styles.includes('mxgraph.') && used.every((shape) => BUILT_IN.has(shape))) return;
    libraries = libraries || SHAPE_LIBRARIES.reduce((before, url) => before.then(() => loadScript(url)), Promise.resolve());
    await libraries;
  }

  function typesetter() {
    if (!math) {
      window.MathJax = {
        startup: { pageReady: function () {}, typeset: false },
        loader: { load: ['input/tex', 'input/asciimath', 'output/svg'] },
        tex: { inlineMath: [['\\(', '\\)']] },
        options: { skipHtmlTags: { '[+]': ['text'] }, ignoreHtmlClass: 'geDisableMathJax', enableMenu: false },
        svg: { fontCache: 'none' },
      };
      math = loadScript('math/startup.js').then(() => window.MathJax.startup.promise);
    }
    return math;
  }

  async function typeset(element) {
    await typesetter();
    window.MathJax.texReset();
    await window.MathJax.typesetPromise([element]);
  }

  // Formulas that MathJax draws as an error, or whose unknown commands it draws in red, without saying so.
  function mathErrors(element) {
    const errors = new Set();
    element.querySelectorAll('[data-mjx-error]').forEach((part) => errors.add(part.getAttribute('data-mjx-error')));
    element.querySelectorAll('[data-mml-node="mtext"][fill="red"]').forEach((part) => {
      const letters = Array.from(part.querySelectorAll('[data-c]'), (glyph) => String.fromCodePoint(parseInt(glyph.getAttribute('data-c'), 16)));
      if (letters[0] === '\\') errors.add('unknown command ' + letters.join(''));
    });
    return Array.from(errors).sort();
  }

  // Sources of images; those in SVG are written as links.
  function sourceOf(image) {
    return image.getAttribute('xlink:href') || image.getAttribute('href') || image.getAttribute('src');
  }

  // Waits for images and fonts; gives the images that cannot be shown.
  async function settle(element) {
    const sources = new Set(Array.from(element.querySelectorAll('image, img'), sourceOf).filter(Boolean));
    const failed = [];
    await Promise.all(Array.from(sources, (source) => {
      const image = new Image();
      image.src = source;
      return image.decode().catch(() => failed.push(source.slice(0, 120)));
    }));
    await document.fonts.ready;
    return failed.sort();
  }

  function firstPage(xml) {
    const parsed = attempt('xml', () => {
      const result = new DOMParser().parseFromString(xml, 'text/xml');
      const error = result.getElementsByTagName('parsererror')[0];
      if (error) throw new Error(((error.querySelector('div') || error).textContent).trim());
      return result;
    });
    const node = attempt('extract', () => Editor.extractGraphModel(parsed.documentElement, true));
    if (!node) throw new Problem('extract', 'no diagram');
    const root = (node.ownerDocument || parsed).documentElement;
    if (root.nodeName !== 'mxfile') return { model: root, name: 'Page-1', count: 1, pages: [] };
    const pages = root.getElementsByTagName('diagram');
    if (!pages.length) throw new Problem('extract', 'no page');
    const model = attempt('decode', () => Editor.parseDiagramNode(pages[0]));
    if (!model) throw new Problem('decode', 'the page has no content');
    return { model, name: pages[0].getAttribute('name') || 'Page-1', count: pages.length, pages: Array.from(pages) };
  }

  function missingShapes() {
    const missing = new Set();
    Object.values(graph.getModel().cells).forEach((cell) => {
      const style = graph.getCellStyle(cell) || {};
      [style.shape, style.resIcon].forEach((name) => {
        const isKnown = !name || MEANS_RECTANGLE.has(name) || name.startsWith('stencil(') || mxCellRenderer.defaultShapes[name] || mxStencilRegistry.getStencil(name);
        if (!isKnown) missing.add(name);
      });
    });
    return Array.from(missing).sort();
  }

  // Random numbers that are the same for the same document: hand-drawn lines and ids are made of them.
  function randomFrom(seed) {
    let state = 0;
    for (const letter of seed) state = (Math.imul(state, 31) + letter.charCodeAt(0)) | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function forgetLast(seed) {
    const last = graph;
    graph = null;
    try {
      if (last) last.destroy();
    } catch (error) {
      // It is left alone: the window is replaced after a document that breaks the viewer.
    }
    for (const name of Object.keys(Graph.customFontElements)) {
      const font = Graph.customFontElements[name];
      if (font.elt) font.elt.remove();
      delete Graph.customFontElements[name];
    }
    if (math && window.MathJax.startup.document) {
      // A new typesetter forgets the macros and labels that documents define.
      window.MathJax.startup.getComponents();
      window.MathJax.startup.makeMethods();
    }
    document.body.textContent = '';
    document.body.removeAttribute('style');
    let count = 0;
    // Ids of gradients and clips would be random. They differ between documents: several may end on one HTML page.
    Editor.guid = () => 'clm-' + seed + '-' + count++;
    Math.random = randomFrom(seed);
  }

  // What lies behind a page: an image, or another page of the file as a picture. A name, when it is not there.
  async function backgroundOfPage(page) {
    const text = page.model.getAttribute('backgroundImage');
    if (!text) return {};
    let image = null;
    try {
      image = JSON.parse(text);
    } catch (error) {
      return { missing: text.slice(0, 80) };
    }
    const link = String((image && image.src) || '');
    if (!link.startsWith(PAGE_LINK)) {
      return { image: new mxImage(link, image.width || 0, image.height || 0, image.x || 0, image.y || 0) };
    }
    const id = link.slice(PAGE_LINK.length);
    const node = page.pages.find((each) => each.getAttribute('id') === id);
    const model = node && attempt('decode', () => Editor.parseDiagramNode(node));
    if (!model) return { missing: id };
    await shapesFor(model).catch((error) => { throw new Problem('shapes', error); });
    const container = document.createElement('div');
    document.body.appendChild(container);
    const other = new Graph(container);
    try {
      other.foldingEnabled = false;
      other.setEnabled(false);
      new mxCodec(model.ownerDocument).decode(model, other.getModel());
      const bounds = other.getGraphBounds();
      if (!(bounds.width > 0 && bounds.height > 0)) return {};
      const svg = other.getSvg(null, 1, 0, false, null, true, null, null, null, null, null, 'light');
      editor = editor || new Editor();
      await new Promise((resolve) => editor.convertImages(svg, resolve));
      const [width, height] = ['width', 'height'].map((side) => parseFloat(svg.getAttribute(side)));
      return { image: new mxImage(Editor.createSvgDataUri(mxUtils.getXml(svg)), width, height, Math.floor(bounds.x), Math.floor(bounds.y)) };
    } finally {
      other.destroy();
      container.remove();
    }
  }

  function brushFor(size) {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = size;
    return canvas.getContext('2d', { willReadFrequently: true });
  }

  // Fonts that labels ask for and that are not there: with them, a text is as wide as without them.
  function missingFonts(container) {
    const brush = brushFor(1);
    const width = (family) => {
      brush.font = '40px ' + family;
      return brush.measureText('mmmlliWQ@ 0123').width;
    };
    const names = new Set();
    container.querySelectorAll('*').forEach((element) => {
      if (!element.textContent.trim()) return;
      const first = getComputedStyle(element).fontFamily.split(',')[0].trim().replace(/^["']|["']$/g, '');
      if (element.closest('mjx-container') === null) names.add(first);
    });
    const isMissing = (name) => ['serif', 'monospace'].every((other) => width(JSON.stringify(name) + ', ' + other) === width(other));
    return Array.from(names).filter((name) => !GENERIC_FONTS.has(name) && isMissing(name)).sort();
  }

  // Characters that no font has: they look like one that cannot be in any.
  function missingCharacters(container) {
    const candidates = new Set(Array.from(container.textContent).filter((letter) => letter.codePointAt(0) > 0xff && !/[\s\p{C}\p{M}]/u.test(letter)));
    if (!candidates.size) return [];
    const size = 48;
    const brush = brushFor(size);
    const drawn = (letter) => {
      brush.clearRect(0, 0, size, size);
      brush.font = '24px Helvetica';
      brush.fillText(letter, 6, 33);
      let hash = 0;
      for (const value of brush.getImageData(0, 0, size, size).data) hash = (Math.imul(hash, 31) + value) | 0;
      return hash;
    };
    const absent = drawn('\u{10fffd}');
    return Array.from(candidates).slice(0, MOST_CHARACTERS).filter((letter) => drawn(letter) === absent).sort();
  }

  function show(page, background) {
    document.body.style.margin = '0';
    document.body.style.overflow = 'hidden';
    const container = document.createElement('div');
    container.style.cssText = 'width:100%;height:100%';
    document.body.appendChild(container);
    graph = new Graph(container);
    graph.foldingEnabled = false;
    graph.setEnabled(false);
    graph.mathEnabled = page.model.getAttribute('math') === '1';
    const variable = graph.getGlobalVariable;
    graph.getGlobalVariable = function (name) {
      const own = { page: page.name, pagenumber: 1, pagecount: page.count };
      return Object.hasOwn(own, name) ? own[name] : variable.apply(this, arguments);
    };
    if (background) {
      graph.setBackgroundImage(background);
      // What lies behind belongs to the picture, even beyond the shapes.
      const shapes = graph.getGraphBounds;
      graph.getGraphBounds = function () {
        const { scale, translate } = this.view;
        const behind = new mxRectangle((translate.x + background.x) * scale, (translate.y + background.y) * scale, background.width * scale, background.height * scale);
        const bounds = mxRectangle.fromRectangle(shapes.apply(this, arguments));
        if (!(bounds.width > 0 && bounds.height > 0)) return behind;
        bounds.add(behind);
        return bounds;
      };
    }
    new mxCodec(page.model.ownerDocument).decode(page.model, graph.getModel());
    return container;
  }

  function backgroundOf(page) {
    const colour = page.model.getAttribute('background');
    return colour && colour !== 'none' ? colour : null;
  }

  async function asSvg(page, order) {
    const hasShadow = page.model.getAttribute('shadow') === '1';
    const svg = graph.getSvg(backgroundOf(page), order.scale, order.border, false, null, true, null, null, null, null, null, 'light');
    if (hasShadow && graph.addSvgShadow) graph.addSvgShadow(svg);
    if (graph.mathEnabled && Editor.prototype.addMathCss) Editor.prototype.addMathCss(svg);
    const failedImages = await settle(svg);
    editor = editor || new Editor();
    await new Promise((resolve) => editor.convertImages(svg, resolve));
    // MathJax numbers its parts over the life of the window.
    const numbers = new Map();
    const text = mxUtils.getXml(svg).replace(/MJX-(\d+)-/g, (_, number) => {
      if (!numbers.has(number)) numbers.set(number, numbers.size);
      return 'MJX-' + order.seed + '-' + numbers.get(number) + '-';
    });
    return {
      svg: '<?xml version="1.0" encoding="UTF-8"?>\n' + text,
      width: parseFloat(svg.getAttribute('width')),
      height: parseFloat(svg.getAttribute('height')),
      failedImages,
    };
  }

  async function asPicture(page, order, container) {
    const bounds = graph.getGraphBounds();
    // The desktop program multiplies the border by the scale at the left and top only; so do we.
    graph.view.scaleAndTranslate(order.scale, Math.floor(order.border - Math.floor(bounds.x)), Math.floor(order.border - Math.floor(bounds.y)));
    if (graph.mathEnabled) await typeset(container).catch(() => {});
    const shown = graph.getGraphBounds();
    let width = Math.ceil(shown.x + Math.ceil(shown.width + order.border) + 1);
    let height = Math.ceil(shown.y + Math.ceil(shown.height + order.border) + 1);
    if (page.model.getAttribute('shadow') === '1' && graph.addSvgShadow) {
      graph.addSvgShadow(graph.view.canvas.ownerSVGElement, null, true);
      graph.setShadowVisible(true);
      width += 7;
      height += 7;
    }
    document.body.style.width = width + 'px';
    document.body.style.height = height + 'px';
    document.body.style.backgroundColor = backgroundOf(page) || '#ffffff';
    return { width, height, failedImages: await settle(document.body) };
  }

  function checkSize(bounds) {
    const sides = [bounds.width, bounds.height];
    if (!sides.every((side) => side > 0)) throw new Problem('empty', 'nothing to be seen');
    const edges = [bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height];
    if (!edges.every((edge) => Math.abs(edge) <= LARGEST_SIDE)) {
      throw new Problem('size', sides.map((side) => Math.round(side)).join(' by '));
    }
  }

  async function render(order) {
    forgetLast(order.seed);
    const page = firstPage(order.xml);
    await shapesFor(page.model).catch((error) => { throw new Problem('shapes', error); });
    const background = await backgroundOfPage(page);
    const container = attempt('render', () => show(page, background.image));
    let errors = [];
    if (graph.mathEnabled) {
      await typeset(container).catch((error) => errors.push(String(error.message || error)));
      errors = errors.concat(mathErrors(container));
    }
    checkSize(graph.getGraphBounds());
    const lacking = { missingFonts: missingFonts(container), missingCharacters: missingCharacters(container) };
    const made = order.format === 'svg' ? await asSvg(page, order) : await asPicture(page, order, container);
    return Object.assign({ ok: true, missingShapes: missingShapes(), mathErrors: errors, missingBackground: background.missing }, lacking, made);
  }

  // Without any font, text takes no space and is not drawn.
  window.clmHasFont = () => {
    const brush = document.createElement('canvas').getContext('2d');
    brush.font = '20px Helvetica';
    return brush.measureText('Mxg').width > 0;
  };

  window.clmRender = (order) => render(order).catch((error) => ({
    ok: false,
    stage: error.stage || 'render',
    error: String(error.message || error),
  }));
})();
