// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"unicode/utf8"
)

// The pictures are set in a fixed pitch, so that the width of a text is known without a font. All lengths are pixels.
const (
	charWidth  = 7.9 // at 13 px, a little more than the common fonts have
	lineHeight = 18
	margin     = 16
	boxHeight  = 30
)

func textWidth(s string) float64 { return charWidth * float64(utf8.RuneCountInString(s)) }

// The colours follow the reader's: an SVG in a page sees prefers-color-scheme, too. It brings its own paper, for the page
// around it may follow something else.
const style = `
  .paper { fill: #ffffff; }
  text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328; }
  .title { font-weight: 600; }
  .quiet { fill: #59636e; }
  .line { stroke: #59636e; stroke-width: 1.4; fill: none; }
  .life { stroke: #c3c9d0; stroke-width: 1.4; }
  .head { fill: #59636e; }
  .box { fill: #eef1f4; stroke: #59636e; stroke-width: 1.2; }
  .pause { fill: #f6f8fa; stroke: #59636e; stroke-dasharray: 4 3; }
  .good { fill: #d5efdc; stroke: #1a7f37; stroke-width: 1.2; }
  .bad { fill: #fbdcd9; stroke: #b3261e; stroke-width: 1.2; }
  .cross { stroke: #b3261e; stroke-width: 2.2; fill: none; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    text { fill: #e6edf3; }
    .quiet { fill: #9aa4af; }
    .line { stroke: #9aa4af; }
    .life { stroke: #444c56; }
    .head { fill: #9aa4af; }
    .box { fill: #262c34; stroke: #9aa4af; }
    .pause { fill: #161b22; stroke: #9aa4af; }
    .good { fill: #15402a; stroke: #3fb950; }
    .bad { fill: #55211f; stroke: #f47067; }
    .cross { stroke: #f47067; }
  }
`

// A canvas collects shapes and knows how far they reach.
type canvas struct {
	title  string
	body   bytes.Buffer
	right  float64
	bottom float64
}

func (c *canvas) reach(x, y float64) { c.right, c.bottom = max(c.right, x), max(c.bottom, y) }

// text draws s around x (anchor middle), from it (start) or up to it (end), its middle at the height y.
func (c *canvas) text(x, y float64, anchor, class, s string) {
	c.reach(x+textWidth(s)/map[string]float64{"start": 1, "middle": 2, "end": math.Inf(1)}[anchor], y+lineHeight/2)
	fmt.Fprintf(&c.body, "<text x=%q y=%q text-anchor=%q class=%q>%s</text>\n", num(x), num(y+4.5), anchor, class, html.EscapeString(s))
}

func (c *canvas) box(x, y, w, h float64, class, label string) {
	c.reach(x+w, y+h)
	fmt.Fprintf(&c.body, "<rect x=%q y=%q width=%q height=%q rx=\"5\" class=%q/>\n", num(x), num(y), num(w), num(h), class)
	c.text(x+w/2, y+h/2, "middle", "label", label)
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	c.reach(max(x1, x2), max(y1, y2))
	fmt.Fprintf(&c.body, "<path d=\"M%s %s L%s %s\" class=%q/>\n", num(x1), num(y1), num(x2), num(y2), class)
}

// arrow draws a line with a head at its end.
func (c *canvas) arrow(x1, y1, x2, y2 float64) {
	length := math.Hypot(x2-x1, y2-y1)
	ux, uy := (x2-x1)/length, (y2-y1)/length
	const long, wide = 9, 4
	bx, by := x2-long*ux, y2-long*uy
	c.line(x1, y1, bx, by, "line")
	fmt.Fprintf(&c.body, "<path d=\"M%s %s L%s %s L%s %s Z\" class=\"head\"/>\n", num(x2), num(y2),
		num(bx-wide*uy), num(by+wide*ux), num(bx+wide*uy), num(by-wide*ux))
}

func (c *canvas) cross(x, y float64) {
	const r = 6
	c.line(x-r, y-r, x+r, y+r, "cross")
	c.line(x-r, y+r, x+r, y-r, "cross")
}

func (c *canvas) svg() []byte {
	c.reach(margin+textWidth(c.title), 0)
	w, h := num(math.Ceil(c.right+margin)), num(math.Ceil(c.bottom+margin))
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=%q height=%q viewBox=\"0 0 %s %s\" role=\"img\">\n", w, h, w, h)
	fmt.Fprintf(&out, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(c.title), style)
	out.WriteString("<rect width=\"100%\" height=\"100%\" rx=\"6\" class=\"paper\"/>\n")
	fmt.Fprintf(&out, "<text x=\"%d\" y=\"%d\" class=\"title\">%s</text>\n", margin, margin+10, html.EscapeString(c.title))
	out.Write(c.body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func num(f float64) string { return fmt.Sprintf("%.4g", math.Round(f*10)/10) }
