// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report/chart"
)

//go:embed page.css
var pageStyle string

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":  func() template.CSS { return template.CSS(chart.Style + pageStyle) },
	"svg":    func(s string) template.HTML { return template.HTML(s) },
	"method": func() []chapter { return method },
	"prose":  prose,
	"orders": func(server string, v *view) string { return fmt.Sprintf("s%d", v.color(server)%chart.Colors) },
}).Parse(pageText))

var errNothing = errors.New("there are no results to report")

// HTML writes one page that needs nothing else: charts and tables of the runs together, the last one to have measured a
// case standing for it.
func HTML(w io.Writer, runs ...*record.Run) error {
	v := newView(runs)
	if len(v.cases) == 0 {
		return errNothing
	}
	return page.Execute(w, v)
}

// prose renders a paragraph of the method.
func prose(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(html.EscapeString(s), "`") {
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

// A tile is the first thing to see: a comparison in large figures.
type tile struct {
	Baseline, Ratio, Interval string
	Undecided                 bool
}

// Headline is the first case, by what it is about.
func (v *view) Headline() string {
	for i := range v.cases {
		if m := &v.cases[i]; !m.survival() && !m.sweep {
			return m.title()
		}
	}
	return ""
}

// Tiles compare CPU time in the first case.
func (v *view) Tiles() (tiles []tile) {
	for i := range v.cases {
		m := &v.cases[i]
		if m.title() != v.Headline() {
			continue
		}
		for j := range m.results {
			c := comparison(m.run, &m.results[j], "server_cpu_ns_per_message")
			if c == nil || c.Ratio == nil {
				continue
			}
			t := tile{Baseline: c.Baseline, Ratio: fmt.Sprintf("%.2f", *c.Ratio), Undecided: c.Undecided(), Interval: fmt.Sprintf("%d %s: too few for an interval", c.Rounds, plural(c.Rounds, "round"))}
			if c.Low != nil && c.High != nil {
				t.Interval = fmt.Sprintf("%.2f to %.2f at 95\u00a0%%, %d\u00a0rounds", *c.Low, *c.High, c.Rounds)
			}
			tiles = append(tiles, t)
		}
		break
	}
	return tiles
}

// First is the server that is compared with the others.
func (v *view) First() string { return v.cases[0].results[0].Server }

// A caseTable is all figures of a case.
type caseTable struct {
	Title  string
	Sweep  bool
	Rounds int
	Header []string
	Rows   [][]string
	Notes  []string
}

// Tables are all figures.
func (v *view) Tables() (tables []caseTable) {
	for i := range v.cases {
		m := &v.cases[i]
		g := m.grid()
		tables = append(tables, caseTable{m.title(), m.sweep, rounds(m.results), g[0], g[1:], m.notes()})
	}
	return tables
}

// A property is a line on a rig.
type property struct{ Name, Value string }

// rigOf lists what is known of how a run was made.
func rigOf(run *record.Run) []property {
	r := &run.Rig
	list := []property{
		{"date", r.Time.Format("2006-01-02 15:04 -0700")},
		{"machine", fmt.Sprintf("%d × %s", r.CPUs, orUnknown(r.CPU))},
	}
	if r.Memory > 0 {
		list = append(list, property{"memory", Bytes(float64(r.Memory))})
	}
	list = append(list,
		property{"system", strings.Join(slices.DeleteFunc([]string{r.Kernel, r.OS, r.Go}, func(s string) bool { return s == "" }), ", ")},
		property{"rounds", fmt.Sprintf("%g s after %g s of warm-up; order shuffled with seed %d", r.Duration, r.Warmup, r.Seed)},
		property{"servers", fmt.Sprintf("%d %s and GOMAXPROCS=%d each", r.Loops, plural(r.Loops, "event loop"), r.Loops)},
		property{"load", r.Load}, property{"system calls", r.Syscalls},
		property{"revision", r.Revision}, property{"command", strings.Join(append([]string{"go run ./bench"}, r.Command...), " ")})
	for _, server := range slices.Sorted(maps.Keys(r.Versions)) {
		list = append(list, property{server, r.Versions[server]})
	}
	return slices.DeleteFunc(list, func(p property) bool { return p.Value == "" })
}

// A rig is a run's rig and what it found out about itself.
type rigView struct {
	Properties []property
	Checks     []record.Check
	Warnings   int
}

// Rigs are those of the runs that are shown.
func (v *view) Rigs() (list []rigView) {
	for _, run := range v.Runs {
		r := rigView{Properties: rigOf(run), Checks: run.Checks}
		for _, c := range run.Checks {
			if !c.OK {
				r.Warnings++
			}
		}
		list = append(list, r)
	}
	return list
}

// Latest is the rig of the newest run.
func (v *view) Latest() rigView {
	rigs := v.Rigs()
	return rigs[len(rigs)-1]
}

// Warnings is how many checks warn.
func (v *view) Warnings() (n int) {
	for _, r := range v.Rigs() {
		n += r.Warnings
	}
	return n
}
