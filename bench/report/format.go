// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/quartet-go/quartet/bench/record"
)

// What stands for a figure that is not known, and for a comparison that cannot tell.
const (
	unknown   = "-"
	undecided = "~"
)

// Figure writes a metric's value with its unit, to three significant digits.
func Figure(m record.Metric, v *float64) string {
	if v == nil {
		return unknown
	}
	switch m.Unit {
	case "ns":
		return Duration(*v)
	case "bytes":
		return Bytes(*v)
	case "messages/s":
		return Count(*v)
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}

// Count writes a number with k or M.
func Count(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + "M"
	case v >= 1e4:
		return significant(v/1e3) + "k"
	}
	return significant(v)
}

// Duration writes ns.
func Duration(ns float64) string {
	switch d := time.Duration(ns); {
	case d >= time.Second:
		return significant(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return significant(ns/1e6) + " ms"
	case d >= time.Microsecond:
		return significant(ns/1e3) + " µs"
	}
	return significant(ns) + " ns"
}

// Bytes writes a size: small ones to the byte, others in binary units.
func Bytes(v float64) string {
	switch {
	case v >= 1<<30:
		return significant(v/(1<<30)) + " GiB"
	case v >= 1<<20:
		return significant(v/(1<<20)) + " MiB"
	case v >= 10<<10:
		return significant(v/(1<<10)) + " KiB"
	}
	return fmt.Sprintf("%.0f B", v)
}

// Ratio writes a comparison: the median and its interval, and ~ after it where that holds 1 or is not known.
func Ratio(c *record.Comparison) string {
	switch {
	case c == nil || c.Ratio == nil:
		return unknown
	case c.Low == nil || c.High == nil:
		return fmt.Sprintf("%.2f %s", *c.Ratio, undecided)
	case c.Undecided():
		return fmt.Sprintf("%.2f [%.2f, %.2f] %s", *c.Ratio, *c.Low, *c.High, undecided)
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", *c.Ratio, *c.Low, *c.High)
}

func significant(v float64) string {
	digits := 0
	if v > 0 {
		digits = 2 - int(math.Floor(math.Log10(v)))
		if p := math.Pow10(digits); math.Round(v*p) >= 1000 { // 99.97 is 100
			digits--
		}
		digits = max(0, digits)
	}
	return strconv.FormatFloat(v, 'f', min(digits, 2), 64)
}
