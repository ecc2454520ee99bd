// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package chart draws the three kinds of chart that the benchmark's reports have, as SVG: ratios with intervals around
// 1, values with intervals from 0, and lines over axes that may be logarithmic.
//
// gonum.org/v1/plot was weighed and left: it fixes colours and fonts when it draws, where these pages follow the reader's
// dark or light setting and width; its points cannot be hovered; and it would bring a dozen modules, fonts and PDF
// among them, to a repository whose dependencies are counted on one hand. What is used of it would be what is here.
//
// Drawings have no colours of their own: they name the classes that Style defines. In a page the style stands once;
// Standalone puts it into a file. axis.go has scales and their ticks, svg.go elements and text; ratios.go, values.go
// and lines.go have a kind each.
package chart
