#!/bin/sh
cat here.txt
