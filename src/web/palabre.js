"use strict"; var Palabre;
