// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report/chart"
	"github.com/quartet-go/quartet/bench/stats"
)

// A sweep is a number of a case whose growth has a chart.
type sweep struct {
	name, title string
	of          func(*record.Result) int
	without     func(record.Result) record.Result // the case with that number blanked
	format      func(float64) string
}

var sweeps = []sweep{
	{
		"connections", "connections", func(r *record.Result) int { return r.Conns },
		func(r record.Result) record.Result { r.Conns = 0; return r }, Count,
	},
	{
		"size", "size of a message", func(r *record.Result) int { return r.Size },
		func(r record.Result) record.Result { r.Size = 0; return r }, size,
	},
	{
		"depth", "requests in flight on each connection", func(r *record.Result) int { return r.Depth },
		func(r record.Result) record.Result { r.Depth = 0; return r }, Count,
	},
}

// growing is the scenario that is nothing but sweeps.
const growing = "scale"

// fewestSteps is how many cases that differ in one number only make a sweep.
const fewestSteps = 3

// families are the cases that differ in the number of the sweep only, in its order.
func (v *view) families(s sweep) (list [][]*measured) {
	for i := range v.cases {
		m := &v.cases[i]
		if m.survival() {
			continue
		}
		a := s.without(m.results[0])
		at := slices.IndexFunc(list, func(f []*measured) bool {
			b := s.without(f[0].results[0])
			return sameCase(&a, &b)
		})
		if at < 0 {
			list = append(list, nil)
			at = len(list) - 1
		}
		list[at] = append(list[at], m)
	}
	list = slices.DeleteFunc(list, func(f []*measured) bool { return len(f) < fewestSteps })
	for _, f := range list {
		slices.SortStableFunc(f, func(a, b *measured) int { return cmp.Compare(s.of(&a.results[0]), s.of(&b.results[0])) })
	}
	return list
}

// markSweeps leaves one case of each swept scenario to stand among the others: of those with most rounds, the one in
// most sweeps.
func (v *view) markSweeps() {
	member := make(map[*measured]int)
	usual := make(map[string]*measured)
	for _, s := range sweeps {
		for _, family := range v.families(s) {
			for _, m := range family {
				member[m]++
			}
		}
	}
	for i := range v.cases {
		m := &v.cases[i]
		if member[m] == 0 {
			continue
		}
		scenario := m.results[0].Scenario
		best := usual[scenario]
		if best == nil || cmp.Or(cmp.Compare(rounds(m.results), rounds(best.results)), cmp.Compare(member[m], member[best])) > 0 {
			usual[scenario] = m
		}
	}
	for m := range member {
		m.sweep = m.results[0].Scenario == growing || usual[m.results[0].Scenario] != m
	}
}

// swept are the metrics that have a chart for each sweep.
var swept = []struct{ metric, name, title string }{
	{"server_cpu_ns_per_message", "cpu", "CPU time a message"},
	{"messages_per_second", "throughput", "messages a second"},
	{"rss_bytes_per_connection", "memory", "memory for each connection"},
}

// Sweeps are what a message costs as the work grows.
func (v *view) Sweeps() (figures []figure) {
	for _, s := range sweeps {
		for _, family := range v.families(s) {
			for _, of := range swept {
				if of.name == "memory" && s.name != "connections" {
					continue
				}
				if f, ok := v.sweepFigure(s, family, of.metric, of.name, of.title); ok {
					figures = append(figures, f)
				}
			}
		}
	}
	return figures
}

func (v *view) sweepFigure(s sweep, family []*measured, metric, name, what string) (figure, bool) {
	m, _ := record.MetricNamed(metric)
	byServer := make(map[string][]chart.Point)
	x := chart.Scale{Log: true, Format: short(s.format)}
	for _, step := range family {
		at := float64(s.of(&step.results[0]))
		x.Ticks = append(x.Ticks, at)
		for i := range step.results {
			if y := stats.Center(&step.results[i], m); y != nil && *y > 0 {
				byServer[step.results[i].Server] = append(byServer[step.results[i].Server], chart.Point{X: at, Y: *y})
			}
		}
	}
	var lines []chart.Line
	for _, server := range v.Servers {
		if p := byServer[server]; len(p) > 1 {
			lines = append(lines, chart.Line{Name: server, Color: v.color(server), Points: p})
		}
	}
	if len(lines) == 0 {
		return figure{}, false
	}
	scenario := family[0].results[0].Scenario
	title := fmt.Sprintf("%s: %s against %s", scenario, what, s.title)
	y := chart.Scale{Log: metric != "server_cpu_ns_per_message" || s.name != "connections", Format: short(func(y float64) string { return Figure(m, &y) })}
	if m.Unit == "bytes" {
		y.Format, y.Binary = short(size), true
	}
	return newFigure("scale-"+slug(scenario+" "+s.name+" "+name), title, "", true, func(width float64) string {
		return chart.Lines(width, title, s.title, what, x, y, lines)
	}), true
}
