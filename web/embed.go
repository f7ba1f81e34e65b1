// Package web holds the front ends (console, widget) as they were built, and the message catalogue that they
// share with the server. It embeds files and serves nothing: package app does.
//
// Go builds without Node: dist/.keep keeps the folder there, and Built says whether the rest is.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

//go:embed messages/*.json
var messages embed.FS

// Dist is the build's output: app/app.html and app/assets/ (console), w/widget.html and w/assets/ (the widget's
// frame), widget.js (its loader).
func Dist() fs.FS { return sub(dist, "dist") }

// Messages is the message catalogue, one JSON file per language (en.json, de.json).
func Messages() fs.FS { return sub(messages, "messages") }

// Built reports whether the front ends were built before this binary was.
func Built() bool {
	_, err := fs.Stat(dist, "dist/app/app.html")
	return err == nil
}

// sub narrows an embedded tree to one of its own folders, which the embed directives above say is there.
func sub(fsys fs.FS, dir string) fs.FS {
	s, err := fs.Sub(fsys, dir)
	if err != nil {
		panic("web: " + err.Error())
	}
	return s
}
