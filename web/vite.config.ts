import tailwind from "@tailwindcss/vite";
import { defineConfig } from "vite";

export default defineConfig({
  base: "/static/",
  plugins: [tailwind()],
  build: {
    outDir: "../src/hutong/portal/static",
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    assetsInlineLimit: 0, // nothing becomes a data: address: the pages' policy is strict
    license: { fileName: "licenses.md" }, // what the packages built in ask to be told
    chunkSizeWarningLimit: 1500,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: ["src/base.ts", "src/platform.ts", "src/thing.ts"],
    },
  },
});
