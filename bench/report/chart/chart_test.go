// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/report/chart"
)

func ptr(v float64) *float64 { return &v }

func plain(v float64) string { return fmt.Sprintf("%.4g", v) }

// wellFormed returns the texts of a drawing of a class, in order.
func wellFormed(t *testing.T, svg, class string) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	take := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			take = false
			for _, a := range token.Attr {
				take = take || token.Name.Local == "text" && a.Name.Local == "class" && strings.HasPrefix(a.Value, class)
				for _, bad := range []string{"NaN", "Inf"} {
					assert.NotContains(t, a.Value, bad)
				}
			}
		case xml.CharData:
			if take {
				texts = append(texts, string(token))
			}
		case xml.EndElement:
			take = false
		}
	}
	return texts
}

func TestRatios(t *testing.T) {
	groups := []chart.Group{{Title: "a <case>", Ratios: []chart.Ratio{
		{Label: "less", Value: 0.5, Low: ptr(0.4), High: ptr(0.6)},
		{Label: "more", Color: 1, Value: 2, Low: ptr(1.9), High: ptr(2.1)},
		{Label: "same", Color: 2, Value: 1.02, Low: ptr(0.9), High: ptr(1.1), Undecided: true},
		{Label: "few", Color: 3, Value: 1.5, Undecided: true},
	}}}
	wide := chart.Ratios(1000, "title", "less", "more", groups)
	assert.Equal(t, []string{"0.50 [0.40, 0.60]", "2.00 [1.90, 2.10]", "1.02 [0.90, 1.10] ~", "1.50 ~"}, wellFormed(t, wide, "value"))
	assert.Equal(t, []string{"a <case>"}, wellFormed(t, wide, "group"))
	assert.Equal(t, []string{"0.5×", "0.7×", "1×", "1.4×", "2×"}, wellFormed(t, wide, "tick"))
	assert.Equal(t, []string{"0.50", "2.00", "1.02 ~", "1.50 ~"}, wellFormed(t, chart.Ratios(350, "title", "less", "more", groups), "value"))

	bars := regexp.MustCompile(`<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"`).FindAllStringSubmatch(wide, -1)
	require.Len(t, bars, 4)
	assert.Equal(t, bars[0][2], bars[1][2], "a half and a double are as far from 1")
	assert.NotEqual(t, bars[0][1], bars[1][1], "on different sides")
	assert.Contains(t, wide, `s2 undecided bar`)
}

func TestValues(t *testing.T) {
	rows := []chart.Value{{Label: "a", Value: 300, Low: ptr(290), High: ptr(310)}, {Label: "b", Value: 12600}, {Label: "none"}}
	svg := chart.Values(500, "title", chart.Scale{Format: plain}, rows)
	assert.Equal(t, []string{"0", "5000", "1e+04", "1.5e+04"}, wellFormed(t, svg, "tick"))
	svg = chart.Values(500, "title", chart.Scale{Format: plain, Binary: true}, rows)
	assert.Equal(t, []string{"0", "5120", "1.024e+04", "1.536e+04"}, wellFormed(t, svg, "tick"))
	assert.Equal(t, []string{"300", "1.26e+04", "0"}, wellFormed(t, svg, "value"))
}

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		x, y   chart.Scale
		points []chart.Point
		ticks  []string // those of y first
	}{
		"linear":      {chart.Scale{}, chart.Scale{}, []chart.Point{{0, 0}, {4, 9}}, []string{"0", "2", "4", "6", "8", "10", "0", "1", "2", "3", "4"}},
		"logarithmic": {chart.Scale{Log: true}, chart.Scale{Log: true}, []chart.Point{{10, 3}, {1000, 40}}, []string{"2", "5", "10", "20", "50", "10", "20", "50", "100", "200", "500", "1000"}},
		"binary":      {chart.Scale{}, chart.Scale{Log: true, Binary: true}, []chart.Point{{0, 100}, {1, 1000}}, []string{"64", "128", "256", "512", "1024", "0", "0.2", "0.4", "0.6", "0.8", "1"}},
		"given":       {chart.Scale{Log: true, Ticks: []float64{10, 9900, 10000}}, chart.Scale{}, []chart.Point{{10, 1}, {10000, 1}}, []string{"0", "0.2", "0.4", "0.6", "0.8", "1", "10", "1e+04"}},
		"one point":   {chart.Scale{}, chart.Scale{Log: true}, []chart.Point{{7, 20}}, []string{"10", "20", "50", "7", "7.2", "7.4", "7.6", "7.8", "8"}},
		"nothing":     {chart.Scale{}, chart.Scale{}, nil, nil},
	} {
		c.x.Format, c.y.Format = plain, plain
		svg := chart.Lines(600, "title", "x", "y", c.x, c.y, []chart.Line{{Name: "a & b", Points: c.points}})
		ticks := wellFormed(t, svg, "tick")
		if c.ticks != nil {
			assert.Equal(t, c.ticks, ticks, name)
		}
		assert.Equal(t, []string{"a & b"}, wellFormed(t, svg, "label"), name)
	}
	var many []chart.Point
	for i := range 100 {
		many = append(many, chart.Point{X: float64(i), Y: math.Sqrt(float64(i))})
	}
	wellFormed(t, chart.Lines(300, "title", "x", "y", chart.Scale{Format: plain}, chart.Scale{Format: plain}, []chart.Line{{Name: strings.Repeat("long ", 9)}, {Points: many}}), "")
}

func TestStandalone(t *testing.T) {
	svg := chart.Standalone(chart.Values(500, "a title", chart.Scale{Format: plain}, []chart.Value{{Label: "a", Value: 1}}))
	wellFormed(t, svg, "")
	assert.Contains(t, svg, "prefers-color-scheme: dark")
	assert.Contains(t, svg, `viewBox="-12 -12 524 `)
	assert.Contains(t, svg, `width="524" height="`)
}
