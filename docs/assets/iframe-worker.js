// Browsers run no Worker for a page that was opened from disk, and the search is one. Here it runs in a frame instead.
// The name is one that mkdocs-material looks for: it would load such a script from elsewhere.
"use strict";
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      // What the script says to its page, and what it may load.
      this.inner.postMessage = data => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (typeof this.onmessage === "function") this.onmessage(event);
      };
      const load = source => new Promise((resolve, reject) => {
        const script = this.inner.document.createElement("script");
        script.src = new URL(source, document.baseURI);
        script.onload = resolve;
        script.onerror = reject;
        this.inner.document.body.append(script);
      });
      this.inner.importScripts = (...sources) => Promise.all(sources.map(load));
      this.loaded = load(url);
    }

    postMessage(data) {
      this.loaded.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.inner.frameElement.remove();
    }
  };
}
