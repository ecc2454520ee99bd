// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart

import (
	_ "embed"
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// Style is the style sheet of drawings. It defines the classes s0 to s7, the colours of series, for a dark and a light
// background.
//
//go:embed style.css
var Style string

// Colors is how many series have a colour of their own.
const Colors = 8

// A drawing is an SVG in the making. Lengths are in px at its natural width.
type drawing struct {
	strings.Builder
	width float64
}

// What text takes, about: widths cannot be known before a font is.
const (
	textSize  = 12.0
	charWidth = 6.4
)

// Below narrow, a drawing is for a phone: labels are shorter.
const narrow = 480

func textWidth(s string) float64 { return charWidth * float64(utf8.RuneCountInString(s)) }

// svg returns the element around what was drawn. title says in words what there is to see.
func (d *drawing) svg(title string, height float64) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s">`+"\n%s</svg>\n",
		d.width, height, html.EscapeString(title), d.String())
}

// Standalone makes a drawing a file: with the style, a background, and its natural size.
func Standalone(svg string) string {
	open, rest, _ := strings.Cut(svg, "\n")
	var w, h float64
	_, box, _ := strings.Cut(open, `viewBox="`)
	fmt.Sscanf(box, "0 0 %g %g", &w, &h) //nolint:errcheck // it is what svg wrote
	const margin = 12
	open = strings.Replace(open, fmt.Sprintf(`viewBox="0 0 %g %g"`, w, h),
		fmt.Sprintf(`width="%g" height="%g" viewBox="%d %d %g %g"`, w+2*margin, h+2*margin, -margin, -margin, w+2*margin, h+2*margin), 1)
	return fmt.Sprintf("%s\n<style>\n%s</style>\n<rect class=\"page\" x=\"%d\" y=\"%d\" width=\"%g\" height=\"%g\"/>\n%s",
		open, Style, -margin, -margin, w+2*margin, h+2*margin, rest)
}

func (d *drawing) text(x, y float64, class, s string) {
	fmt.Fprintf(&d.Builder, `<text x="%.1f" y="%.1f" class="%s">%s</text>`+"\n", x, y, class, html.EscapeString(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&d.Builder, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

// rect draws a rectangle whose ends may come in any order. tip is shown when it is pointed at.
func (d *drawing) rect(x1, y1, x2, y2 float64, class, tip string) {
	fmt.Fprintf(&d.Builder, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" class="%s"><title>%s</title></rect>`+"\n",
		min(x1, x2), min(y1, y2), max(x1, x2)-min(x1, x2), max(y1, y2)-min(y1, y2), class, html.EscapeString(tip))
}

func (d *drawing) dot(x, y, r float64, class, tip string) {
	fmt.Fprintf(&d.Builder, `<circle cx="%.1f" cy="%.1f" r="%g" class="%s"><title>%s</title></circle>`+"\n", x, y, r, class, html.EscapeString(tip))
}

// whisker draws a horizontal interval.
func (d *drawing) whisker(x1, x2, y float64) {
	const half = 4
	d.line(x1, y, x2, y, "whisker")
	d.line(x1, y-half, x1, y+half, "whisker")
	d.line(x2, y-half, x2, y+half, "whisker")
}

func series(color int) string { return fmt.Sprintf("s%d", color%Colors) }
