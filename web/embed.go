// Package web holds the front ends (console, widget) as they were built. It embeds files and serves nothing: package
// app does. Go builds without Node, because dist/.keep keeps the folder there.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Dist is the build's output: app/app.html and app/assets/ (console), w/widget.html (the
// widget's frame) and w/check.html (the preflight page) with w/assets/, widget.js (the frame's loader). It is empty but
// for .keep when the front ends were not built.
func Dist() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("web: " + err.Error()) // cannot be: the directive above embeds it
	}
	return sub
}
